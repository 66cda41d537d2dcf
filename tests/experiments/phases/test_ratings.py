"""A store of ratings: Phase 2 to its report, and what every other command does with the store and with the run."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
from rich.console import Console

import keybed
from keybed.experiments.cli.main import main
from keybed.experiments.evaluation.gates import read_gate
from keybed.experiments.percepiano.run_predictions import heads_of_run
from keybed.experiments.phases.compare import compare
from keybed.experiments.phases.config import Phase2Config
from keybed.experiments.phases.phase2 import run_phase2
from keybed.experiments.reports.report import NoExamples, render
from keybed.experiments.scoring.run_files import NoScoringRun, open_run
from keybed.store.errors import KeybedError
from keybed.store.read.opening import open_store
from tests.extract.planning.test_rated_plan import rated_store


@pytest.fixture(scope="module")
def rated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rated_store(tmp_path_factory.mktemp("rated"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("curve", "STORE", "--out", "OUT"), "curve measures specific r on degraded rows"),
        (("phase3", "STORE", "--after", "RUN", "--out", "OUT"), "Phase 3 compares degraded variants of one segment"),
        (("phase4", "STORE", "--after", "RUN", "--out", "OUT"), "Phase 4 compares degraded variants of one segment"),
        (("window-check", "STORE", "STORE", "--out", "OUT"), "window-check compares degraded variants"),
        (("sensitivity", "STORE", "--out", "OUT"), "sensitivity compares degraded variants"),
        (
            ("listen", "STORE", "--out", "OUT"),
            "none of its rows is degraded.*--alone` degrades them one axis at a time",
        ),
        (("export", "STORE", "OUT.tar.gz"), "nothing of them is degraded; plan a store without --labels"),
    ],
)
def test_commands_for_degraded_rows_say_what_to_do(
    rated: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], words: tuple[str, ...], message: str
) -> None:
    places = {"STORE": rated, "OUT": tmp_path / "out", "RUN": tmp_path / "run", "OUT.tar.gz": tmp_path / "out.tar.gz"}
    assert main([str(places.get(word, word)) for word in words]) == 1
    said = [line for line in capfd.readouterr().err.splitlines() if line.startswith("keybed:")]
    assert len(said) == 1
    assert re.search(message, said[0])
    assert str(rated) in said[0]
    assert not (tmp_path / "out").exists()


def test_info_shows_the_ratings_and_no_curve_of_degradation(rated: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(rated)]) == 0
    shown = capfd.readouterr().out
    assert "rating, 1 (worst) to 7 (best)" in shown
    assert re.search(r"warmth\s+12\s+4\.50\s+1\.71", shown)  # 2 to 7, twice each
    assert "no row is degraded" in shown
    assert "score → level" not in shown


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
    with pytest.raises(NoExamples, match="no row is degraded"):
        render(out, open_store(store))
    with pytest.raises(NoScoringRun, match="was trained on ratings by people \\(rhythmic_stability, warmth\\)"):
        open_run(out)
    with pytest.raises(KeybedError, match="was trained on ratings"):
        heads_of_run(out, store)

    predictions = keybed.open_run(out).predictions
    assert predictions.dimensions == ("rhythmic_stability", "warmth")
    assert predictions.by_model["concat"].shape == (2, 12, 2)
    warmth = predictions.truth["score"][:, 1]
    assert sorted(warmth) == pytest.approx(sorted(2 * [100 * (k - 1) / 6 for k in range(2, 8)]), rel=1e-5)
    log = tmp_path / "other"
    run_phase2(Phase2Config(store, log, epochs=2, seeds=2, hidden=8, folds=3, log="tensorboard"), console)
    assert any((log / "tensorboard").iterdir())
    comparison = compare([out, log])
    assert comparison.measure == "Pearson r"
    first, second = comparison.models["concat"]
    assert first.mean.value == pytest.approx(results["mean_r"]["concat"]["value"])
    assert second.difference.value == pytest.approx(second.mean.value - first.mean.value)
    assert second.pairwise is second.pairwise_difference is None
