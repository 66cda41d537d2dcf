"""Every report says what its sound can show."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from experiments.gates import Gate
from experiments.intervals import Interval
from experiments.report import banners
from experiments.summary import print_summary
from store.schema import DIMENSIONS

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
