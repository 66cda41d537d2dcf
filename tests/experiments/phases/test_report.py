"""Phase 2's page and terminal summary: the numbers that the gain compares stand in the tables, and the lead says what decided."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from keybed.experiments.data.run_folder import write_json
from keybed.experiments.evaluation import criterion_names as names
from keybed.experiments.evaluation.diagnostics import IN_WORDS
from keybed.experiments.evaluation.gates import read_gate
from keybed.experiments.evaluation.intervals import Interval
from keybed.experiments.evaluation.model_names import BEST_FUSION, BEST_SINGLE
from keybed.experiments.evaluation.phase2_results import Phase2Results
from keybed.experiments.hearing.examples import Examples
from keybed.experiments.phases.phase2_criteria import phase2_gate
from keybed.experiments.reports import phase2_page, report
from keybed.experiments.reports.report import render
from keybed.experiments.reports.results import read_results
from keybed.experiments.reports.terminal import print_summary
from keybed.store.read.store import Store

Made = Callable[..., tuple[Path, Path]]


def test_the_numbers_that_the_gain_compares_stand_in_the_tables(made_run: Made) -> None:
    """They are those of heads chosen in each fold, which are no single head's."""
    _, run = made_run()
    evaluation = read_results(run, Phase2Results).evaluation
    assert len({c.fusion for c in evaluation.chosen.each_fold} | {c.single for c in evaluation.chosen.each_fold}) > 2
    for name, r in ((BEST_FUSION, evaluation.gain.a.fusion), (BEST_SINGLE, evaluation.gain.a.base)):
        assert evaluation.mean.specific[name] == r
        assert len(evaluation.specific[name]) == 7
    for name, r in ((BEST_FUSION, evaluation.gain.literal.fusion), (BEST_SINGLE, evaluation.gain.literal.base)):
        assert evaluation.mean.plain[name] == r
    page = re.sub(r"<[^>]+>", " ", render(run).read_text())
    for words, r in (
        ("best fusion, chosen in each fold", evaluation.gain.a.fusion),
        ("best single modality, chosen in each fold", evaluation.gain.a.base),
    ):
        assert re.search(rf"{words}\s+{r.value:.3f}\s+\({r.low:.3f} to {r.high:.3f}\)", page)
    for g in (evaluation.gain.b, evaluation.gain.c):
        assert f"{g.fusion.value:.3f}" in page
        assert f"{g.base.value:.3f}" in page


def test_the_terminal_shows_both_numbers_of_the_gain_beside_the_heads(made_run: Made, tmp_path: Path) -> None:
    _, run = made_run()
    results = read_results(run, Phase2Results)
    written = io.StringIO()
    print_summary(Console(file=written, width=80), results, read_gate(run), tmp_path / "report.html")
    text = written.getvalue()
    gain, plain = results.evaluation.gain.a, results.evaluation.mean.plain
    assert (
        f"mean, chosen on validation rows in each fold: best fusion {gain.fusion.value:.3f} ({plain[BEST_FUSION].value:.2f}), "
        f"best single modality {gain.base.value:.3f} ({plain[BEST_SINGLE].value:.2f})"
    ) in " ".join(text.split())


def test_a_gain_above_its_threshold_that_fails_by_its_interval_says_so_in_the_lead(made_run: Made) -> None:
    _, run = made_run()
    results = read_results(run, Phase2Results)
    gain = replace(results.evaluation.gain.a, relative=Interval(0.101, -0.02, 0.21))
    gains = replace(results.evaluation.gain, a=gain)
    results = replace(results, evaluation=replace(results.evaluation, gain=gains))
    gate = phase2_gate(results, {})
    assert gate.verdict == "NO-GO"
    lead = phase2_page.lead(results, gate)
    assert lead[0] == gate.headline
    assert f"“{names.GAIN_A}” (lower bound −0.020 is not > 0)" in lead[0]
    assert "the gate asks ≥ 10 %, lower bound > 0 %: fail (lower bound −2.0 % is not > 0 %)" in lead[1]
    failing = [c.name for c in gate.criteria if c.required and c.outcome != "pass"]
    assert all(f"“{name}”" in lead[0] for name in failing)


def test_no_measure_of_a_space_judges_heads_or_repeats_a_threshold() -> None:
    assert "standardised" in IN_WORDS["mean_cosine"]
    assert not re.search(r"[≥>≤<]\s*0\.\d", " ".join(IN_WORDS.values()))


def test_examples_without_sound_are_made_from_the_store_that_the_run_names(
    made_run: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not where the run names none, where it has moved, or where another store lies there now."""
    store, run = made_run()
    made: list[Path] = []

    def make(_: Path, opened: Store, __: object) -> Examples:
        made.append(opened.path)
        return Examples("best_fusion", (), "")

    monkeypatch.setattr(report, "make_examples", make)
    results = read_results(run, Phase2Results)

    def examples() -> Examples | None:
        return report._examples(run, results, None, None)

    assert examples() == Examples("best_fusion", (), "")
    assert made == [store]
    write_json(run / "examples.json", Examples("best_fusion", (), "the soundfont is absent"))
    examples()
    assert made == [store, store]
    write_json(run / "examples.json", Examples("best_fusion", (), ""))
    examples()
    assert len(made) == 2
    (run / "examples.json").unlink()
    write_json(run / "places.json", {"store": str(run / "moved")})
    assert examples() is None
    (run / "places.json").unlink()
    assert examples() is None
    assert len(made) == 2
