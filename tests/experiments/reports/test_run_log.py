"""What a run writes to TensorBoard and to Weights & Biases, and that neither library is loaded otherwise."""

from __future__ import annotations

import struct
import subprocess
import sys
import time
import types
from pathlib import Path
from typing import Any

import pytest

from keybed.experiments.evaluation.criteria import Criterion
from keybed.experiments.evaluation.gates import make_gate
from keybed.experiments.phases.config import Phase2Config
from keybed.experiments.reports import run_log as module
from keybed.experiments.reports.run_log import run_log
from keybed.heads.progress import Report, named
from keybed.store.optional import NotInstalled

ROOT = Path(__file__).resolve().parents[3]
CONFIG = Phase2Config(Path("STORE"), Path("RUN"))
CRITERION = Criterion("gain (a)", 0.25, 0.125, 0.5, "≥ 0.1", "pass", "0.5 / 0.4 − 1")
WANTED = {
    "loss/folds/fold-1/audio/seed-0": [(0, 4.0), (1, 2.0)],
    "loss/folds/fold-1/audio/seed-7": [(0, 3.0), (1, 1.0)],
    "validation/folds/fold-1/audio/seed-0": [(0, 0.5), (1, 0.75)],
    "validation/folds/fold-1/audio/seed-7": [(1, 0.25)],
    "rows_per_s/folds/fold-1": [(0, 100.0), (1, 200.0)],
}


@pytest.fixture(autouse=True)
def _numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "key_numbers", lambda results: {"mean specific r, audio": 0.5})


def follow(log: module.RunLog) -> list[Report]:
    """Two epochs of two seeds, with reports of steps between them, and the end."""
    shown: list[Report] = []
    listen = named(named(log.beside(shown.append), "folds"), "fold-1")
    assert listen is not None
    ends = [
        {"loss": {"audio": [4.0, 3.0]}, "validation": {"audio": [0.5, None]}, "rows_per_s": 100.0},
        {"loss": {"audio": [2.0, 1.0]}, "validation": {"audio": [0.75, 0.25]}, "rows_per_s": 200.0},
    ]
    for epoch, ended in enumerate(ends):
        step = Report(epoch, 2, 3, 3, 1.0, 100.0, None, (0, 7))
        listen(step)
        listen(step._replace(ended=ended))
    log.finish(None, make_gate(2, [CRITERION], [CRITERION], {}))  # type: ignore[arg-type]
    return shown


def test_without_a_log_reports_are_only_shown(tmp_path):
    shown = follow(run_log(None, tmp_path, CONFIG))
    assert len(shown) == 4
    assert {report.fit for report in shown} == {"folds/fold-1"}
    assert list(tmp_path.iterdir()) == []


def events(folder: Path) -> list[Any]:
    """The records of the one event file, by the framing of TFRecord."""
    from tensorboardX.proto.event_pb2 import Event

    (file,) = folder.glob("events.out.tfevents.*")
    data, read = file.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        read.append(Event.FromString(data[12 : 12 + length]))
        data = data[16 + length :]
    return read


def test_tensorboard_gets_epochs_and_the_gate(tmp_path):
    pytest.importorskip("tensorboardX", reason="the extra [log] is not installed")
    log = run_log("tensorboard", tmp_path, CONFIG)
    assert list(tmp_path.iterdir()) == [], "a wrong option must leave nothing behind"
    follow(log)
    scalars: dict[str, list[tuple[int, float]]] = {}
    words = {}
    for event in events(tmp_path / "tensorboard"):
        for value in event.summary.value:
            if value.HasField("simple_value"):
                scalars.setdefault(value.tag, []).append((event.step, value.simple_value))
            elif value.tensor.string_val:
                words[value.tag.split("/")[0]] = value.tensor.string_val[0].decode()
    assert scalars == {
        **WANTED,
        "gate/gain__a_": [(0, 0.25)],  # TensorBoard's names have neither spaces nor brackets
        "result/mean_specific_r__audio": [(0, 0.5)],
    }
    assert words == {"verdict": "Phase 2: GO", "headline": "The one criterion holds."}


class Recorded:
    """A stand-in for wandb that keeps what it is given."""

    def __init__(self) -> None:
        self.settings: dict[str, Any] = {}
        self.lines: list[dict[str, Any]] = []
        self.summary: dict[str, Any] = {}
        self.finished = False

    def init(self, **settings: Any) -> Recorded:
        self.settings = settings
        return self

    def define_metric(self, name: str, step_metric: str) -> None:
        assert (name, step_metric) == ("*", "epoch")

    def log(self, values: dict[str, Any]) -> None:
        self.lines.append(values)

    def finish(self) -> None:
        self.finished = True


def test_wandb_gets_the_same(tmp_path, monkeypatch):
    stand_in = Recorded()
    module_of_wandb = types.ModuleType("wandb")
    module_of_wandb.init = stand_in.init  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", module_of_wandb)
    follow(run_log("wandb", tmp_path / "phase2", CONFIG))
    assert stand_in.settings["dir"] == str(tmp_path / "phase2")
    assert stand_in.settings["name"] == "phase2"
    assert stand_in.settings["config"]["epochs"] == CONFIG.epochs
    logged: dict[str, list[tuple[int, float]]] = {}
    for line in stand_in.lines:
        for name, value in line.items():
            if name != "epoch":
                logged.setdefault(name, []).append((line["epoch"], value))
    assert logged == WANTED
    assert stand_in.summary["gate/gain (a)"] == 0.25
    assert stand_in.summary["verdict"] == "Phase 2: GO"
    assert stand_in.finished


def test_the_real_wandb_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="wandb is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    follow(run_log("wandb", tmp_path, CONFIG))
    (file,) = (tmp_path / "wandb").glob("offline-run-*/run-*.wandb")
    until = time.monotonic() + 60  # wandb's own process writes the file
    while not all(name in file.read_bytes() for name in (b"validation/folds/fold-1/audio/seed-7", b"gate/gain (a)")):
        assert time.monotonic() < until
        time.sleep(0.2)


@pytest.mark.parametrize(("name", "library"), [("tensorboard", "tensorboardX"), ("wandb", "wandb")])
def test_an_absent_library_is_a_sentence(tmp_path, monkeypatch, name, library):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(NotInstalled, match=rf"needs {library}, which is not installed: pip install {library}"):
        run_log(name, tmp_path / "run", CONFIG)
    assert not (tmp_path / "run").exists()


def test_neither_library_is_loaded_without_being_asked_for():
    code = (
        "import sys\nfrom keybed.experiments.phases import phase2, phase3, phase4\n"
        "from keybed.experiments.reports.run_log import run_log\nfrom pathlib import Path\nrun_log(None, Path('x'), None)\n"
        "print([name for name in ('tensorboardX', 'wandb', 'tensorboard', 'pandas', 'xarray') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
