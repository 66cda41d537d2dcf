"""Files of a run that are cut, emptied or altered are refused by name with what to delete; wrong options leave no folder."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from keybed import store as stores
from keybed.experiments.data import run_folder
from keybed.experiments.data.run_folder import RunDamaged, RunTaken, start_run, write_json
from keybed.experiments.evaluation.cross_validation import compiled_once
from keybed.experiments.evaluation.saved_predictions import PREDICTIONS, load_predictions
from keybed.experiments.phases.compare import compare
from keybed.experiments.phases.config import DemoConfig, Phase2Config, Phase3Config, WindowCheckConfig
from keybed.experiments.phases.demo import run_demo
from keybed.experiments.phases.phase2 import run_phase2
from keybed.experiments.phases.phase3 import run_phase3
from keybed.experiments.phases.run_before import check_run_before
from keybed.experiments.phases.window_check import run_window_check
from keybed.experiments.reports.report import render
from keybed.heads.errors import HeadsError
from keybed.store.errors import KeybedError, NoDiskSpace

Made = Callable[..., tuple[Path, Path]]
QUIET = Console(quiet=True)
DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "cut": lambda data: data[: len(data) // 2],
    "another kind of file": lambda data: b"GIF89a" + data[6:],
    "a list": lambda data: b"[1, 2]",
    "nested deeply": lambda data: b"[" * 100_000,
    "no UTF-8": lambda data: b"\xff\xfe" + data,
    "half a character": lambda data: b'{"phase": "\\ud800"}',
    "not a number": lambda data: b'{"phase": NaN}',
}


def continued(store: Path, run: Path) -> None:
    """What a second start of the same command does first."""
    config = Phase2Config(store=store, out=run, seeds=2, hidden=8, folds=3)
    start_run(run, config, stores.open(store).fingerprint)


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", ["config.json", "results.json", "gate.json", PREDICTIONS])
def test_a_damaged_file_is_named_with_what_to_delete(made_run: Made, name: str, damage: str) -> None:
    store, run = made_run()
    path = run / name
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    if name == PREDICTIONS:
        readers: list[Callable[[], object]] = [lambda: load_predictions(run)]
    elif name == "config.json":
        readers = [lambda: continued(store, run)]
    else:
        readers = [lambda: render(run)]
    for read in readers:
        with pytest.raises((RunDamaged, HeadsError), match=r"is damaged.*delete it and run the same phase") as refused:
            read()
        assert str(refused.value).startswith(str(path))


@pytest.mark.parametrize("name", ["config.json", "results.json", "gate.json", PREDICTIONS, "heads.npz"])
def test_no_flipped_bit_is_accepted_by_the_next_phase(made_run: Made, name: str) -> None:
    store, run = made_run()
    fingerprint = stores.open(store).fingerprint
    before, _ = check_run_before(run, 2, fingerprint, "a test")
    path = run / name
    whole = path.read_bytes()
    draw = np.random.default_rng(0)
    for at, bit in zip(draw.integers(0, len(whole), 40), draw.integers(0, 8, 40), strict=True):
        flipped = bytearray(whole)
        flipped[at] ^= 1 << bit
        path.write_bytes(flipped)
        try:
            gate, _ = check_run_before(run, 2, fingerprint, "a test")
        except (KeybedError, HeadsError):
            continue
        assert name == "gate.json"  # white space between its values
        assert gate == before


def test_predictions_of_other_rows_than_their_labels_are_refused(made_run: Made) -> None:
    _, run = made_run()
    with np.load(run / PREDICTIONS) as arrays:
        values = {name: arrays[name] for name in arrays.files}
    np.savez(run / PREDICTIONS, **{**values, "said/audio": values["said/audio"][:, 1:]})
    with pytest.raises(RunDamaged, match="not of the same rows"):
        load_predictions(run)
    np.savez(run / PREDICTIONS, **{n: v for n, v in values.items() if n != "truth/tier"})
    with pytest.raises(RunDamaged, match="holds no truth/tier"):
        load_predictions(run)


def test_a_full_disk_under_the_run_is_named(made_run: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    _, run = made_run()
    names = sorted(p.name for p in run.iterdir())

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("keybed.store.disk.durable.os.fsync", full)
    for write in (lambda: write_json(run / "results.json", {}), lambda: render(run)):
        with pytest.raises(NoDiskSpace, match=r"no disk space left .*: free some, then run the same command again"):
            write()
    with pytest.raises(NoDiskSpace), run_folder.replace_run_file(run / PREDICTIONS) as file:
        file.write(b"half")
    assert sorted(p.name for p in run.iterdir() if p.name != "report.html") == names


def test_a_full_disk_for_temporary_files_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(KeybedError, match=r"temporary files.*No such file.*set TMPDIR"), compiled_once():
        pass


def test_a_demo_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(KeybedError, match=r"--out .*taken cannot be written \(File exists\); give another folder"):
        run_demo(DemoConfig(out=tmp_path / "taken"), QUIET)


WRONG: dict[str, dict[str, Any]] = {
    "view": {"view": "pca128"},
    "no such view": {"view": "framez"},
    "encoder": {"audio": "mert"},
    "modality": {"midi": "test-audio"},
    "hidden": {"hidden": 6},
    "epochs": {"epochs": 0},
    "seeds": {"seeds": 0},
    "batch_rows": {"batch_rows": 0},
    "learning_rate": {"learning_rate": float("nan")},
    "weight_decay": {"weight_decay": -0.1},
    "pooling": {"pooling": "median"},
    "folds": {"folds": 2},
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_option_of_phase_2_leaves_no_folder(made_run: Made, tmp_path: Path, wrong: str) -> None:
    store, _ = made_run()
    config = replace(Phase2Config(store=store, out=tmp_path / "run", folds=3), **WRONG[wrong])
    with pytest.raises((KeybedError, HeadsError)):
        run_phase2(config, QUIET)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "wrong",
    [{"temperature": 0.0}, {"width": 0}, {"hidden": 0}, {"epochs": 0}, {"learning_rate": -1.0}, {"override": None}],
)
def test_a_wrong_option_of_phase_3_leaves_no_folder(made_run: Made, tmp_path: Path, wrong: dict[str, Any]) -> None:
    store, run = made_run()
    config = replace(Phase3Config(store=store, after=run, out=tmp_path / "run", override="a test"), **wrong)
    with pytest.raises((KeybedError, HeadsError)):
        run_phase3(config, QUIET)
    assert not (tmp_path / "run").exists()


def test_a_wrong_option_of_the_window_check_leaves_no_folder(make_store: Callable[..., Path], tmp_path: Path) -> None:
    paths = (make_store(3, 2, window_s=10), make_store(3, 2, window_s=20))
    for wrong in ({"audio": "mert"}, {"folds": 2}, {"hidden": 3}):
        with pytest.raises((KeybedError, HeadsError)):
            run_window_check(replace(WindowCheckConfig(paths, tmp_path / "run"), **wrong), QUIET)
    assert not (tmp_path / "run").exists()


def test_a_folder_that_is_taken_says_by_what(made_run: Made) -> None:
    store, run = made_run()
    config = Phase2Config(store=store, out=run, seeds=5, hidden=8, folds=3)
    with pytest.raises(RunTaken, match=r"\(seeds: 2 there, 5 here\): give another --out, or delete"):
        run_phase2(config, QUIET)
    with pytest.raises(RunTaken, match="a Phase2Config there, a WindowCheckConfig here"):
        start_run(run, WindowCheckConfig((store,), run), "f")


def test_comparing_a_damaged_run_names_it(made_run: Made) -> None:
    _, run = made_run()
    (run / "gate.json").write_bytes(b"")
    with pytest.raises(RunDamaged, match=r"gate\.json is damaged"):
        compare([run, run])
