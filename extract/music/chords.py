"""Group notes into chords by their onsets: the one rule for every user of chords."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CHORD_GAP_S = 0.03
"""Onsets at most this many seconds apart belong to one chord."""
HAND_CHORD_GAP_S = 0.05
"""Onsets at most this many seconds apart count as one chord of a hand, so that rolled chords are included."""


def chord_starts(
    onset_s: NDArray[np.float64], *, max_gap_s: float = np.inf, max_span_s: float = np.inf
) -> NDArray[np.bool_]:
    """Which onsets, bool (n,), begin a chord; onset_s is sorted.

    An onset begins a chord where it lies more than `max_gap_s` after the previous onset, or more than `max_span_s`
    after the first onset of its chord. An onset exactly that far away still belongs to the chord.
    """
    starts = np.ones(onset_s.size, bool)
    starts[1:] = np.diff(onset_s) > max_gap_s
    if np.isfinite(max_span_s):
        first_s = -np.inf
        for index, onset in enumerate(onset_s):
            starts[index] |= onset - first_s > max_span_s
            if starts[index]:
                first_s = onset
    return starts


def chord_numbers(starts: NDArray[np.bool_]) -> NDArray[np.intp]:
    """The chord of each onset, (n,), counted from 0, from `chord_starts`."""
    return np.cumsum(starts) - 1
