"""Every report says what its sound can show."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from keybed.experiments.evaluation.gates import Gate
from keybed.experiments.evaluation.intervals import Interval
from keybed.experiments.reports.report import banners
from keybed.experiments.reports.terminal import print_summary
from keybed.store.format.vocabulary import DIMENSIONS

ONE = Interval(0.5, 0.4, 0.6)


def results(source: str) -> dict[str, Any]:
    store = {"audio_source": source, "profile": "mixed", "encoders": [], "n_rows": 4, "status": {"OK": 4}}
    table = {"audio": dict.fromkeys(DIMENSIONS, ONE)}
    return {
        "store": store,
        "pair": {"audio": "logmel", "midi": "expressive"},
        "judged": {"how": "test split", "pieces": 3},
        "specific": table,
        "plain": table,
        "mean": {"specific": {"audio": ONE}, "plain": {"audio": ONE}},
    }


@pytest.mark.parametrize(
    ("source", "words"),
    [("recorded", "only the tone axis touches it"), ("rendered", "a pedal is down or up"), ("rendered", "not touch")],
)
def test_the_banner_of_every_phase(source: str, words: str) -> None:
    said = [banner.text for banner in banners(results(source))]
    assert sum(words in text for text in said) == 1


@pytest.mark.parametrize("source", ["recorded", "rendered"])
def test_the_terminal_warns_of_recorded_sound(source: str, tmp_path) -> None:  # type: ignore[no-untyped-def]
    written = io.StringIO()
    gate = Gate(2, "GO", "fine", (), (), "GO", None, {})
    print_summary(Console(file=written, width=300), results(source), gate, tmp_path / "report.html")
    assert ("only the tone axis touches it" in written.getvalue()) == (source == "recorded")


def test_the_table_fits_a_terminal_of_80_columns(tmp_path) -> None:  # type: ignore[no-untyped-def]
    every = results("rendered")
    heads = ("audio", "midi", "concat", "cross", "gated", "specialists")
    below = Interval(-0.123, -0.2, -0.1)
    every["specific"] = every["plain"] = {name: dict.fromkeys(DIMENSIONS, below) for name in heads}
    every["mean"] = {kind: dict.fromkeys(heads, below) for kind in ("specific", "plain")}
    written = io.StringIO()
    gate = Gate(2, "GO", "fine", (), (), "GO", None, {})
    print_summary(Console(file=written, width=80), every, gate, tmp_path / "report.html")
    assert "…" not in written.getvalue()
