import argparse
import errno
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from keybed.experiments.cli.arguments import names, numbers, whole_from
from keybed.experiments.cli.extras import what_to_install
from keybed.experiments.cli.main import main, parser
from keybed.experiments.data.run_folder import start_run
from keybed.experiments.phases.config import Phase2Config
from keybed.store.errors import KeybedError

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "/d/f"),
            "/d/f: No space left on device; free some disk space",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "/d"), "/d: Permission denied; it belongs to another user"),
        (OSError(errno.EMFILE, "Too many open files", "/d/f"), "/d/f: Too many open files; raise the limit"),
        (OSError(errno.EIO, "Input/output error"), f"{__file__}, line "),
        (OSError("no number and no name"), ": no number and no name\n"),
        (MemoryError(), "memory ran out: give the command more"),
    ],
)
def test_an_error_of_the_system_is_one_line_with_advice(error, line, monkeypatch, capsys):
    def fail(options):
        raise error

    monkeypatch.setattr("keybed.experiments.cli.stores._status", fail)
    assert main(["status", "store"]) == 1
    printed = capsys.readouterr().err
    assert printed.startswith("keybed: ")
    assert line in printed
    assert printed.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "status"), [(["slurm", "FOLDER"], 141), (["status", "STORE"], 1), (["--help"], 0)]
)
def test_a_reader_that_closes_the_pipe_gets_no_error(arguments, status, planned_placeholder_store, tmp_path):
    """rich ends with 1 and argparse with 0; all of them in silence."""
    paths = {"STORE": str(planned_placeholder_store), "FOLDER": str(tmp_path)}
    given = [paths.get(part, part) for part in arguments]
    reading, writing = os.pipe()
    os.close(reading)
    call = [sys.executable, "-m", "keybed", *given]
    done = subprocess.run(call, cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert (done.returncode, done.stderr) == (status, "")


def test_a_path_whose_bytes_are_no_text_is_printed(tmp_path, planned_placeholder_store):
    store = os.fsdecode(os.fsencode(tmp_path) + b"/st\xffre")
    shutil.copytree(planned_placeholder_store, store)
    call = [sys.executable, "-m", "keybed", "status", store]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "st\\udcffre: 0 of 60 rows" in done.stdout


def test_ranges_and_lists_of_shards():
    assert numbers("3,17-19") == (3, 17, 18, 19)
    for wrong in ("", "a", "3-", "5-4", "1,,x"):
        with pytest.raises(argparse.ArgumentTypeError):
            numbers(wrong)


def test_names_and_counts():
    assert names("mert, logmel") == ("mert", "logmel")
    assert whole_from(1)("3") == 3
    with pytest.raises(argparse.ArgumentTypeError):
        whole_from(1)("0")
    with pytest.raises(argparse.ArgumentTypeError):
        names(" , ")


def test_an_error_is_one_line_that_says_what_and_where(tmp_path, capsys):
    assert main(["status", str(tmp_path / "nothing")]) == 1
    printed = capsys.readouterr().err
    assert printed.startswith("keybed: ")
    assert str(tmp_path / "nothing") in printed
    assert "Traceback" not in printed


def test_what_heads_refuse_is_explained_too(monkeypatch, capsys):
    from keybed.heads.errors import HeadsError

    def refuse(options):
        raise HeadsError("a batch of 512 rows is larger than the split")

    monkeypatch.setattr("keybed.experiments.cli.stores._status", refuse)
    assert main(["status", "store"]) == 1
    assert capsys.readouterr().err == "keybed: a batch of 512 rows is larger than the split\n"


@pytest.mark.parametrize(
    ("library", "extra", "arguments"),
    [
        ("jax", "heads", ("phase2", "STORE", "--out", "OUT")),
        ("jinja2", "heads", ("phase2", "STORE", "--out", "OUT")),
        ("mido", "extract", ("export", "STORE", "ARCHIVE", "--limit", "4", "--workers", "0")),
        ("pretty_midi", "extract", ("plan", "MAESTRO", "OUT")),
        ("fluidsynth", "extract", ("plan", "MAESTRO", "OUT")),
    ],
)
def test_a_library_that_is_not_installed_is_named_with_its_extra(
    library, extra, arguments, planned_placeholder_store, tiny_maestro, tmp_path
):
    store = shutil.copytree(planned_placeholder_store, tmp_path / "store")
    import_lines = {
        "STORE": str(store),
        "MAESTRO": str(tiny_maestro),
        "OUT": str(tmp_path / "out"),
        "ARCHIVE": str(tmp_path / "out.tgz"),
    }
    given = [import_lines.get(part, part) for part in arguments]
    # As `find_spec` and `import` behave where there is no such library.
    script = (
        "import sys\n"
        f"class Absent:\n    def find_spec(name, *_):\n        if name.partition('.')[0] == {library!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        f"sys.meta_path.insert(0, Absent)\nfrom keybed.experiments.cli.main import main\nsys.exit(main({given!r}))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1, done.stdout
    assert done.stderr.splitlines() == [done.stderr.strip()], "one line"
    assert library in done.stderr
    assert f"pip install -c constraints.txt '.[{extra}]'" in done.stderr


def test_every_library_of_an_extra_is_known_by_it():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    called = {"pyfluidsynth": "fluidsynth", "scikit-learn": "sklearn", "huggingface-hub": "huggingface_hub"}
    for extra in ("extract", "heads", "rate"):
        for wanted in extras[extra]:
            library = wanted.partition(">")[0]
            advice = what_to_install(ModuleNotFoundError(name=called.get(library, library)))
            assert advice is not None
            holders = [name for name, wants in extras.items() if any(w.partition(">")[0] == library for w in wants)]
            assert extra in holders
            assert any(f"'.[{name}]'" in advice for name in holders)
    assert what_to_install(ModuleNotFoundError(name="experiments.misspelt")) is None


def test_a_run_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    for out in ("file", "file/run"):
        with pytest.raises(KeybedError, match=rf"--out .*{out} cannot be written"):
            start_run(tmp_path / out, Phase2Config(tmp_path / "store", tmp_path / out), "abc")


def test_a_csv_without_its_columns_is_named(tmp_path, capsys):
    (tmp_path / "maestro-v3.0.0.csv").write_text("split,duration\ntrain,12.0\n")
    assert main(["plan", str(tmp_path), str(tmp_path / "store")]) == 1
    printed = capsys.readouterr().err
    assert "no column midi_filename; its columns are split, duration." in printed
    assert "--columns 'midi_filename=" in printed
    assert "maestro-v3.0.0.csv" in printed
    assert not (tmp_path / "store").exists()


def test_a_path_that_cannot_be_opened_is_one_line(tmp_path, capsys):
    for command in (
        ["plan", str(tmp_path), "n" * 306],
        ["status", "n" * 306],
        ["plan", "n" * 306, str(tmp_path / "s")],
    ):
        assert main(command) == 1
        printed = capsys.readouterr().err
        assert printed.startswith("keybed: ")
        assert "n" * 306 in printed
        assert "File name too long" in printed
        assert len(printed.splitlines()) == 1


def test_a_limit_that_is_no_number_says_what_it_may_be(capsys):
    for wrong in ("abc", "0", "-3", "1.5", ""):
        with pytest.raises(SystemExit) as stopped:
            main(["plan", "corpus", "store", "--limit", wrong])
        assert stopped.value.code == 2
        printed = capsys.readouterr().err
        assert f"argument --limit: {wrong}: a whole number from 1 on" in printed
        assert "invalid positive value" not in printed


def test_wrong_usage_is_refused_before_any_work():
    for wrong in (
        ["plan"],
        ["extract"],
        ["nonsense"],
        ["plan", "a", "b", "--profile", "loud"],
        ["phase2", "s"],
        ["derive", "s", "--pca", "-3"],
    ):
        with pytest.raises(SystemExit) as caught:
            parser().parse_args(wrong)
        assert caught.value.code == 2


def test_every_command_explains_itself(capsys):
    for command in ("plan", "extract", "status", "verify", "info", "derive", "sensitivity", "export", "phase2", "demo"):
        with pytest.raises(SystemExit) as caught:
            parser().parse_args([command, "--help"])
        assert caught.value.code == 0
        assert command in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "usage", "line"),
    [
        (
            ["phse2"],
            "usage: keybed [-h]",
            "keybed: error: no command phse2; did you mean phase2?; `keybed --help` lists all",
        ),
        (["zzzz"], "usage: keybed [-h]", "keybed: error: no command zzzz; `keybed --help` lists all"),
        (
            ["phase2", "STORE", "--out", "RUN", "--folts", "3"],
            "usage: keybed phase2 [-h]",
            "keybed phase2: error: no option --folts; did you mean --folds?",
        ),
        (
            ["phase5", "percepiano", "DIR", "--out", "RUN", "--sed=3"],
            "usage: keybed phase5 percepiano [-h]",
            "keybed phase5 percepiano: error: no option --sed=3; did you mean --seed?",
        ),
        (
            ["phase5", "percepaino", "DIR"],
            "usage: keybed phase5 [-h]",
            "keybed phase5: error: no command percepaino; did you mean percepiano?; `keybed phase5 --help` lists all",
        ),
        (
            ["verify", "STORE", "OTHER"],
            "usage: keybed verify [-h]",
            "keybed verify: error: one argument too many: OTHER",
        ),
        (
            ["phase2", "STORE", "--bogus", "--out", "R"],
            "usage: keybed phase2",
            "keybed phase2: error: no option --bogus",
        ),
    ],
)
def test_what_is_misspelt_is_named_below_the_usage_of_its_command(words, usage, line, capsys):
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    shown = capsys.readouterr().err
    assert shown.startswith(usage)
    assert shown.splitlines()[-1] == line


def test_without_arguments_the_commands_are_listed(capsys):
    assert main([]) == 0
    shown = capsys.readouterr().out
    assert "phase2" in shown
    assert "extract" in shown


def test_the_version_is_printed(capsys):
    from importlib.metadata import version

    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"keybed {version('keybed')}\n"
