"""The tables of what scores of degraded copies mean: changes of scores, compared differences, and the copy that only begins later."""

from __future__ import annotations

import numpy as np

from keybed.experiments.audits.score_meaning import LATER, Change, begun_later, change, compared_table, table
from keybed.experiments.scoring.comparing import Comparing
from keybed.extract.music.performance import Performance
from keybed.store.format.vocabulary import AXES
from tests.experiments.scoring.made_scores import scored


def _change(axis: str, shift: float, lines: float) -> Change:
    """A copy whose scores lie `shift` above the original's, and whose lines lie `lines` above."""
    (first, music), (copy, copy_music) = scored("a.mid"), scored("a.mid", shift=shift)
    own = np.zeros((len(first.windows), 8))
    with_lines = [
        type(m)(m.performance, m.sound, m.looked_at, values) for m, values in ((music, own), (copy_music, own + lines))
    ]
    return change(axis, (first, with_lines[0]), (copy, with_lines[1]), Comparing(np.zeros((1, 8)), np.full(8, 5.0)))


def test_both_tables_have_a_line_per_axis_and_mark_the_axis_own_dimension() -> None:
    made = [_change(axis, -12.0, -30.0) for axis in AXES] + [_change(LATER, 0.0, 1.0)]
    lines = table(made)
    assert len(lines) == 2 + len(AXES)
    notes = lines[2].split(" | ")
    assert notes[0] == "| notes"
    assert notes[1] == "**−12.0 (0%)**"
    assert notes[2] == "−12.0 (0%)"
    assert lines[2].endswith("| 1 of 1, 100% |")
    compared = compared_table(made)
    assert len(compared) == 2 + len(AXES) + 1
    assert compared[2].split(" | ")[1:3] == ["**−30.0 (100%, 100%)**", "−30.0 (100%, 100%)"]
    later = compared[-1].split(" | ")
    assert later[0] == f"| {LATER}"
    assert later[1] == "+1.0 (0%, 0%)", "the interval, 5 on each side, holds 0"


def test_a_recording_begun_later_has_the_same_notes() -> None:
    p = Performance(
        np.array([0.0, 1.0]),
        np.array([0.5, 1.5]),
        np.array([60, 62], np.int16),
        np.array([50, 60], np.int16),
        np.array([0.2]),
        np.array([100], np.int16),
    )
    later = begun_later(p, 1.0)
    assert later.onset_s.tolist() == [1.0, 2.0]
    assert later.offset_s.tolist() == [1.5, 2.5]
    assert later.pedal_s.tolist() == [1.2]
    assert later.pitch is p.pitch
