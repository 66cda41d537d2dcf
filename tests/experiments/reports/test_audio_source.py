"""Every report states the source of its audio."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from keybed.experiments.data.run_facts import Pair, StoreFacts
from keybed.experiments.evaluation.gates import Gate
from keybed.experiments.evaluation.intervals import Interval
from keybed.experiments.evaluation.phase2_results import EvaluatedRows, MeanR
from keybed.experiments.reports.report import banners
from keybed.experiments.reports.terminal import print_summary
from keybed.store.format.vocabulary import DIMENSIONS

ONE = Interval(0.5, 0.4, 0.6)


def results(source: str, models: tuple[str, ...] = ("audio",), r: Interval = ONE) -> Any:
    """The fields of Phase 2's results that banners and the terminal read."""
    table = {name: dict.fromkeys(DIMENSIONS, r) for name in models}
    mean = dict.fromkeys(models, r)
    return SimpleNamespace(
        store=StoreFacts("f", 4, "mixed", source, 10.0, (), {"OK": 4}),
        pair=Pair("logmel", "expressive", "frames"),
        evaluation=SimpleNamespace(
            rows=EvaluatedRows(4, 3, 1, "test split", 1),
            specific=table,
            plain=table,
            mean=MeanR(mean, mean, mean),
        ),
    )


@pytest.mark.parametrize(
    ("source", "words"),
    [("recorded", "only the tone axis touches it"), ("rendered", "a pedal is down or up"), ("rendered", "not touch")],
)
def test_the_banner_of_every_phase(source: str, words: str) -> None:
    texts = [banner.text for banner in banners(results(source))]
    assert sum(words in text for text in texts) == 1


@pytest.mark.parametrize("source", ["recorded", "rendered"])
def test_the_terminal_warns_of_recorded_audio(source: str, tmp_path) -> None:  # type: ignore[no-untyped-def]
    written = io.StringIO()
    gate = Gate(2, "GO", "fine", (), (), "GO", None, {})
    print_summary(Console(file=written, width=300), results(source), gate, tmp_path / "report.html")
    assert ("only the tone axis touches it" in written.getvalue()) == (source == "recorded")


def test_the_table_fits_a_terminal_of_80_columns(tmp_path) -> None:  # type: ignore[no-untyped-def]
    heads = ("audio", "midi", "concat", "cross", "gated", "specialists", "best_fusion", "best_single")
    every = results("rendered", heads, Interval(-0.123, -0.2, -0.1))
    written = io.StringIO()
    gate = Gate(2, "GO", "fine", (), (), "GO", None, {})
    print_summary(Console(file=written, width=80), every, gate, tmp_path / "report.html")
    assert "…" not in written.getvalue()
