import argparse

import pytest

from experiments.cli import main, parser
from experiments.commands.arguments import names, numbers, positive


def test_ranges_and_lists_of_shards():
    assert numbers("3,17-19") == (3, 17, 18, 19)
    for wrong in ("", "a", "3-", "5-4", "1,,x"):
        with pytest.raises(argparse.ArgumentTypeError):
            numbers(wrong)


def test_names_and_counts():
    assert names("mert, logmel") == ("mert", "logmel")
    assert positive("3") == 3
    with pytest.raises(argparse.ArgumentTypeError):
        positive("0")
    with pytest.raises(argparse.ArgumentTypeError):
        names(" , ")


def test_an_error_is_one_line_that_says_what_and_where(tmp_path, capsys):
    assert main(["status", str(tmp_path / "nothing")]) == 1
    said = capsys.readouterr().err
    assert said.startswith("keybed: ")
    assert str(tmp_path / "nothing") in said
    assert "Traceback" not in said


def test_what_heads_refuse_is_explained_too(monkeypatch, capsys):
    from heads.errors import HeadsError

    def refuse(options):
        raise HeadsError("a batch of 512 rows is larger than the split")

    monkeypatch.setattr("experiments.commands.stores._status", refuse)
    assert main(["status", "store"]) == 1
    assert capsys.readouterr().err == "keybed: a batch of 512 rows is larger than the split\n"


def test_a_csv_without_its_columns_is_named(tmp_path, capsys):
    (tmp_path / "maestro-v3.0.0.csv").write_text("split,duration\ntrain,12.0\n")
    assert main(["plan", str(tmp_path), str(tmp_path / "store")]) == 1
    said = capsys.readouterr().err
    assert "canonical_composer" in said
    assert "maestro-v3.0.0.csv" in said
    assert not (tmp_path / "store").exists()


def test_wrong_usage_is_refused_before_any_work():
    for wrong in (["plan"], ["extract"], ["nonsense"], ["plan", "a", "b", "--profile", "loud"], ["phase2", "s"]):
        with pytest.raises(SystemExit) as caught:
            parser().parse_args(wrong)
        assert caught.value.code == 2


def test_every_command_explains_itself(capsys):
    for command in ("plan", "extract", "status", "verify", "info", "derive", "sensitivity", "export", "phase2", "demo"):
        with pytest.raises(SystemExit) as caught:
            parser().parse_args([command, "--help"])
        assert caught.value.code == 0
        assert command in capsys.readouterr().out
