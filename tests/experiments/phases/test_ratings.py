"""Phase 2 on a store of ratings, to its report."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from keybed.experiments.data.rated_rows import RatedStore
from keybed.experiments.evaluation.gates import read_gate
from keybed.experiments.phases.config import Phase2Config, Phase3Config
from keybed.experiments.phases.phase2 import run_phase2
from keybed.experiments.phases.phase3 import run_phase3
from keybed.experiments.reports.report import render
from tests.extract.planning.test_rated_plan import rated_store


@pytest.mark.slow
def test_phase_2_trains_on_ratings_and_says_what_does_not_apply(tmp_path: Path) -> None:
    store, out = rated_store(tmp_path), tmp_path / "run"
    console = Console(file=io.StringIO(), width=100)
    report = run_phase2(Phase2Config(store, out, epochs=1, seeds=2, hidden=8, folds=3), console)
    results = json.loads((out / "results.json").read_text())
    assert results["phase"] == "2 on ratings"
    assert list(results["dimensions"]) == ["rhythmic_stability", "warmth"]
    assert (results["dimensions"]["warmth"]["rows"], results["dimensions"]["rhythmic_stability"]["rows"]) == (12, 6)
    assert results["dimensions"]["warmth"]["mean"] == pytest.approx(100 * (4.5 - 1) / 6)
    assert results["rows"]["how"] == "out of fold, 3 folds by piece"
    gate = read_gate(out)
    assert {c.arithmetic for c in gate.criteria if not c.required} == {
        "not applicable: ratings have no degraded variants"
    }
    assert [c.name for c in gate.criteria if c.required] == [
        "fusion gain (a) over the best single modality",
        "fusion gain (b) over the specialists",
    ]
    page = report.read_text()
    assert "heads on ratings by people" in page
    assert "not applicable: ratings have no degraded variants" in page
    assert render(out).read_text() == page
    with pytest.raises(RatedStore, match="Phase 3 compares degraded variants"):
        run_phase3(Phase3Config(store, out, tmp_path / "phase3"), console)
