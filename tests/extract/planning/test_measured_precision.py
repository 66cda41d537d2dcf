from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from keybed.extract.config import PlanConfig
from keybed.extract.encoders import describe
from keybed.extract.planning.measured_precision import precision_lines
from keybed.extract.planning.plan import plan
from tests.extract.encoders.tiny_checkpoints import write_mert


def _plan(corpus: Path, tmp_path: Path, dtype: str) -> str:
    config = PlanConfig(
        corpus,
        tmp_path / "store",
        limit=10,
        encoders=("mert", "logmel"),
        weights={"mert": str(write_mert(tmp_path / "weights"))},
        window_s=2.0,
        n_bins=4,
        compute_dtype=dtype,
        jobs=1,
    )
    return "\n".join(plan(config).lines())


def test_planning_bfloat16_measures_its_error_on_eight_rows(
    tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keybed.extract.encoders.torch.device.fast_bfloat16", lambda: True)
    lines = _plan(tiny_corpus, tmp_path, "bfloat16")
    match = re.search(
        r"mert in bfloat16 is ([\d.]+) % \(layers\) and ([\d.]+) % \(frames\) off float32, measured on 8 rows", lines
    )
    assert match, lines
    # bfloat16 has 8 bits of precision: rounding once is 0.4 % at most, and errors add up over the layers.
    assert all(0.01 < float(error) < 3 for error in match.groups())


def test_where_it_cannot_be_measured_a_sentence_says_so(
    tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keybed.extract.encoders.torch.device.fast_bfloat16", lambda: False)
    assert "not measured for mert: this machine has no bfloat16" in _plan(tiny_corpus, tmp_path, "bfloat16")


def test_nothing_is_measured_for_float32_and_random_weights(tmp_path: Path) -> None:
    grid = {"n_bins": 4, "window_s": 2.0}
    random = describe("mert", weights="random:tiny", compute_dtype="bfloat16", **grid)[0]  # type: ignore[arg-type]
    exact, path = describe("mert", weights=str(write_mert(tmp_path)), **grid)  # type: ignore[arg-type]
    assert precision_lines((random, exact), {"weights/mert": str(path)}, iter(())) == []


def test_without_torch_a_sentence_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, path = describe("mert", weights=str(write_mert(tmp_path)), n_bins=4, window_s=2.0, compute_dtype="bfloat16")
    for module in [name for name in sys.modules if name.startswith("keybed.extract.encoders.torch")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delattr("keybed.extract.encoders.torch", raising=False)
    (line,) = precision_lines((spec,), {"weights/mert": str(path)}, iter(()))
    assert line == "the error of bfloat16 was not measured for mert: torch is not installed here"
