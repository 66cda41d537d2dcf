"""--quiet, --verbose and --json: what stands on stdout and stderr, and that the exit status stays."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from keybed.experiments.cli.main import main

STATUS_KEYS = {
    *("command", "keybed", "store", "complete", "rows", "rows_done", "done", "running", "failed", "missing"),
    *("failed_rows", "reasons", "more_reasons", "rows_per_s", "time_left_s", "bound_by", "unreadable", "layers"),
}
VERIFY_KEYS = {
    *("command", "keybed", "store", "sound", "shards", "problems", "missing", "missing_of_layers", "bad", "redo"),
    *("redo_layers", "leftovers", "restorable", "stale", "damaged", "repaired", "recompute_difference"),
}
INFO_KEYS = {
    *("command", "keybed", "store", "fingerprint", "format_version", "rows", "splits", "shard_rows", "shards"),
    *("committed", "status", "mean_score", "arrays", "derived", "layers", "dropped", "random_weights", "traces"),
    "recipe",
}


def document(capsys: pytest.CaptureFixture[str], *words: str | Path, status: int = 0) -> dict:
    capsys.readouterr()
    assert main([str(word) for word in words]) == status
    value = json.loads(capsys.readouterr().out)
    assert isinstance(value, dict)
    return value


def test_status_of_a_planned_store(planned_placeholder_store, capsys):
    shown = document(capsys, "status", planned_placeholder_store, "--json")
    assert set(shown) == STATUS_KEYS
    assert (shown["rows"], shown["rows_done"], shown["done"], shown["complete"]) == (60, 0, [], False)
    assert sum(len(shown[part]) for part in ("done", "running", "failed", "missing")) == len(shown["missing"])


def test_verify_keeps_its_status_and_stdout_to_itself(planned_placeholder_store, finished_placeholder_store, capsys):
    sound = document(capsys, "verify", finished_placeholder_store, "--json")
    assert set(sound) == VERIFY_KEYS
    assert (sound["sound"], sound["redo"], sound["problems"]) == (True, [], [])
    empty = document(capsys, "verify", planned_placeholder_store, "--json", status=1)
    assert empty["sound"] is False
    assert empty["redo"] == empty["missing"] == list(range(empty["shards"]))


def test_info_of_stores_full_and_empty(planned_placeholder_store, finished_placeholder_store, capsys):
    full = document(capsys, "info", finished_placeholder_store, "--json")
    empty = document(capsys, "info", planned_placeholder_store, "--json")
    assert set(full) == set(empty) == INFO_KEYS
    assert (
        full["recipe"]
        == empty["recipe"]
        == json.loads((finished_placeholder_store / "recipe.json").read_text())["recipe"]
    )
    assert sum(full["status"].values()) == full["rows"] == 60
    assert empty["mean_score"]["pedal_technique"]["poor"] == {"mean": None, "rows": 0}
    sizes = {array["path"]: array["bytes"] for array in full["arrays"]}
    assert sizes["row/score"] == 60 * 8 * 4


def test_an_error_is_a_document_too(tmp_path, capsys):
    for command in ("status", "verify", "info", "compare"):
        shown = document(capsys, command, tmp_path / "nothing", "--json", status=1)
        assert set(shown) == {"command", "keybed", "error"}
    assert main(["status", str(tmp_path), "--watch", "--json"]) == 1
    capsys.readouterr()


def test_a_path_whose_bytes_are_no_text_is_a_document_too(planned_placeholder_store, tmp_path, capsys):
    path = tmp_path / "st\udcffre \"'"
    shutil.copytree(planned_placeholder_store, path)
    assert document(capsys, "info", path, "--json")["store"] == str(path)


@pytest.mark.parametrize("words", [("-q", "slurm", "DIR"), ("slurm", "DIR", "--quiet")])
def test_a_quiet_command_prints_nothing_and_does_its_work(words, tmp_path, capsys):
    assert main([word.replace("DIR", str(tmp_path / "scripts")) for word in words]) == 0
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "")
    assert (tmp_path / "scripts" / "extract.sbatch").is_file()


def test_quiet_leaves_what_was_asked_for_and_errors(planned_placeholder_store, finished_placeholder_store, capsys):
    assert main(["info", "-q", str(planned_placeholder_store)]) == 0
    assert "60 rows" in capsys.readouterr().out
    assert main(["verify", "-q", str(finished_placeholder_store)]) == 0
    assert capsys.readouterr().out == ""
    assert main(["verify", "-q", str(planned_placeholder_store)]) == 1
    shown = capsys.readouterr()
    assert shown.out.startswith("not committed: ")
    assert "shards read" not in shown.out + shown.err
    assert main(["-q", "slurm", str(planned_placeholder_store / "recipe.json")]) == 1
    assert "is a file; give a folder" in capsys.readouterr().err


def test_verbose_tells_versions_time_memory_and_where_an_error_arose(tmp_path, capsys):
    assert main(["slurm", str(tmp_path / "scripts"), "-v"]) == 0
    printed = capsys.readouterr()
    assert printed.err.startswith("keybed ")
    assert "s of CPU time, at most" in printed.err
    assert main(["-v", "status", str(tmp_path)]) == 1
    printed = capsys.readouterr().err
    assert "Traceback" in printed
    assert "NotAStore" in printed


def test_quiet_and_verbose_exclude_each_other(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["-q", "status", "STORE", "--verbose"])
    assert ended.value.code == 2
    assert "exclude each other" in capsys.readouterr().err
