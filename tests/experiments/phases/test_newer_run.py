"""Runs of a newer version of Keybed: every command that reads one names both versions, before it compares any hash."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

from keybed.experiments.cli.main import main
from keybed.experiments.data.run_folder import FORMAT_VERSION, NewerKeybed, check_version, start_run
from keybed.experiments.phases.config import Phase2Config
from keybed.experiments.reports.opened_run import open_run

Made = Callable[..., tuple[Path, Path]]
HERE = version("keybed")


def changed(run: Path, **fields: object) -> Path:
    path = run / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))
    return run


def test_a_run_names_its_format_and_its_version(made_run: Made) -> None:
    config = json.loads((made_run()[1] / "config.json").read_text())
    assert (config["format_version"], config["version"]) == (FORMAT_VERSION, HERE)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"version": "9.1.0"}, f"was written by Keybed 9.1.0; this is Keybed {HERE}: update Keybed to 9.1.0"),
        (
            {"version": "9.1.0", "format_version": FORMAT_VERSION + 1},
            f"was written by Keybed 9.1.0 in format {FORMAT_VERSION + 1}; this is Keybed {HERE}, which reads format",
        ),
    ],
)
def test_every_command_names_both_versions(
    made_run: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str], fields: dict[str, object], words: str
) -> None:
    store, run = made_run()
    run = changed(run, **fields)
    midi = tmp_path / "x.mid"
    midi.write_bytes(b"MThd")
    for arguments in (
        ["report", run],
        ["compare", run, run],
        ["pack", run, tmp_path / "model.keybed"],
        ["score", midi, "--run", run],
        ["phase3", store, "--after", run, "--out", tmp_path / "phase3"],
    ):
        assert main([str(argument) for argument in arguments]) != 0
        written = " ".join(capsys.readouterr().err.split())
        assert f"the run {run} {words}" in written, arguments
        assert "or run its phase again with this version in another folder" in written
    assert not (tmp_path / "model.keybed").exists()
    assert not (tmp_path / "phase3").exists()


def test_python_and_a_run_that_would_go_on_are_refused_too(made_run: Made) -> None:
    store, run = made_run()
    changed(run, format_version=FORMAT_VERSION + 1)
    with pytest.raises(NewerKeybed, match="which reads format"):
        open_run(run)
    with pytest.raises(NewerKeybed, match="which reads format"):
        start_run(run, Phase2Config(store=store, out=run), "f")


def test_runs_from_before_formats_were_named_are_read(made_run: Made) -> None:
    _, run = made_run()
    path = run / "config.json"
    path.write_text(json.dumps({"version": "0.1.0", "config": {}}))
    check_version(run)
