"""Chords of onsets written by hand, at and around the limits."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from keybed.extract.music.chords import CHORD_GAP_S, HAND_CHORD_GAP_S, chord_numbers, chord_starts


def test_an_onset_exactly_the_gap_away_belongs_to_the_chord() -> None:
    onset_s = np.array([0.0, 0.25, 0.5, 1.0, 1.25 + 2**-40])
    starts = chord_starts(onset_s, max_gap_s=0.25)
    assert starts.tolist() == [True, False, False, True, True]
    assert chord_numbers(starts).tolist() == [0, 0, 0, 1, 2]
    assert (CHORD_GAP_S, HAND_CHORD_GAP_S) == (0.03, 0.05)


def test_a_span_is_counted_from_the_first_onset_of_the_chord() -> None:
    onset_s = np.array([0.0, 0.25, 0.5, 0.75, 1.0])
    assert chord_starts(onset_s, max_span_s=0.5).tolist() == [True, False, False, True, False]
    assert chord_starts(onset_s, max_span_s=0.5, max_gap_s=0.1).all()


def test_no_onset_gives_no_chord() -> None:
    assert chord_starts(np.zeros(0), max_gap_s=0.03).size == 0
    assert chord_starts(np.zeros(0), max_span_s=0.03).size == 0


@given(steps=st.lists(st.floats(0, 0.1), max_size=40), limit=st.floats(0.001, 0.05))
def test_chords_are_those_of_a_plain_loop(steps: list[float], limit: float) -> None:
    onset_s = np.cumsum(steps) if steps else np.zeros(0)
    by_gap: list[list[float]] = []
    by_span: list[list[float]] = []
    for onset in onset_s.tolist():
        if by_gap and onset - by_gap[-1][-1] <= limit:
            by_gap[-1].append(onset)
        else:
            by_gap.append([onset])
        if by_span and onset - by_span[-1][0] <= limit:
            by_span[-1].append(onset)
        else:
            by_span.append([onset])
    assert np.bincount(chord_numbers(chord_starts(onset_s, max_gap_s=limit))).tolist() == [len(c) for c in by_gap]
    assert np.bincount(chord_numbers(chord_starts(onset_s, max_span_s=limit))).tolist() == [len(c) for c in by_span]
