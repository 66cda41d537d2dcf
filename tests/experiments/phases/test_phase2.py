"""Phase 2 from a store to its report, on signals that are known."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from keybed.experiments.evaluation.gate_chain import ChainBroken, check_chain
from keybed.experiments.evaluation.gates import GateRefused, read_gate
from keybed.experiments.evaluation.saved_predictions import PREDICTIONS
from keybed.experiments.phases.config import Phase2Config
from keybed.experiments.phases.phase2 import run_phase2
from keybed.experiments.reports.report import render
from keybed.store.format.vocabulary import AXIS_DIMENSIONS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(make_store: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "phase2"
    config = Phase2Config(store=make_store(12, 6), out=out, epochs=8, seeds=2, hidden=16, folds=3)
    run_phase2(config, Console(quiet=True))
    return out


def test_it_finds_which_modality_carries_which_dimension(run: Path) -> None:
    results = json.loads((run / "results.json").read_text())
    audio, midi = results["specific"]["audio"], results["specific"]["midi"]
    assert audio["tone_quality"]["value"] > 0.5 > 0.25 > midi["tone_quality"]["value"]
    assert midi["note_accuracy"]["value"] > 0.5 > 0.25 > audio["note_accuracy"]["value"]
    assert results["swap_by_dimension"]["audio"]["tone_quality"]["value"] > 0.2
    assert results["swap_by_dimension"]["midi"]["note_accuracy"]["value"] > 0.2


def test_few_test_pieces_are_tested_out_of_fold_over_all_pieces(run: Path) -> None:
    results = json.loads((run / "results.json").read_text())
    assert results["judged"] == {
        "rows": 288,
        "pieces": 12,
        "segments": 72,
        "how": "out of fold, 3 folds by piece",
        "folds": 3,
    }
    assert results["test_split"]["pieces"] == 3


def test_report_and_results_say_the_same(run: Path) -> None:
    results = json.loads((run / "results.json").read_text())
    page = (run / "report.html").read_text()
    assert results["gain"]["a"]["arithmetic"].replace("-", "−") in page
    assert read_gate(run).verdict in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "<script src" not in page
    for dimension in AXIS_DIMENSIONS:
        assert dimension.replace("_", " ") in page


def test_rendering_again_gives_the_same_bytes(run: Path) -> None:
    before = (run / "report.html").read_bytes()
    assert render(run).read_bytes() == before


def test_the_same_seed_gives_the_same_numbers(make_store: Callable[..., Path], tmp_path: Path) -> None:
    store, numbers = make_store(6, 3), []
    for name in ("first", "second"):
        config = Phase2Config(store=store, out=tmp_path / name, epochs=1, seeds=2, hidden=8, folds=3)
        run_phase2(config, Console(quiet=True))
        numbers.append(_without_clocks(json.loads((tmp_path / name / "results.json").read_text())))
    assert numbers[0] == numbers[1]
    first, second = (np.load(tmp_path / name / PREDICTIONS) for name in ("first", "second"))
    assert set(first.files) == set(second.files)
    for array in first.files:
        np.testing.assert_array_equal(first[array], second[array])


def _without_clocks(value: Any) -> Any:
    """The same JSON without what a clock measured."""
    if isinstance(value, dict):
        return {k: _without_clocks(v) for k, v in value.items() if k != "seconds" and not k.endswith("_s")}
    return [_without_clocks(v) for v in value] if isinstance(value, list) else value


def test_the_chain_notices_a_changed_file_and_refuses_without_go(run: Path) -> None:
    gate = read_gate(run)
    fingerprint = gate.rests_on["store"]
    with pytest.raises(ChainBroken, match="store's recipe"):
        check_chain(run, 2, "0" * 64, None)
    with pytest.raises(GateRefused, match="Phase 2"):
        check_chain(run, 3, fingerprint, None)
    if gate.verdict != "GO":
        with pytest.raises(GateRefused, match="--override"):
            check_chain(run, 2, fingerprint, None)
        _, overrides = check_chain(run, 2, fingerprint, "the data is synthetic")
        assert overrides[-1].reason == "the data is synthetic"
    results = run / "results.json"
    kept = results.read_bytes()
    results.write_bytes(kept + b" ")
    with pytest.raises(ChainBroken, match=r"results\.json"):
        check_chain(run, 2, fingerprint, "reason")
    results.write_bytes(kept)
