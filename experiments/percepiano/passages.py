"""One-to-one matches between the notes of two performances of a passage.

Matching uses notes only, never ratings. A chord holds the onsets at most 35 ms after its first; chords are aligned by
dynamic time warping on the pitches they share, then notes of equal pitch are paired within aligned chords.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from keybed.extract.music.chords import chord_starts
from keybed.extract.music.performance import Performance

CHORD_SPAN_S = 0.035
"""Onsets at most this many seconds after the first onset of a chord belong to it."""


def chords(performance: Performance) -> list[NDArray[np.intp]]:
    """Indices of the notes of each chord, in time order."""
    starts = np.flatnonzero(chord_starts(performance.onset_s, max_span_s=CHORD_SPAN_S))
    return np.split(np.arange(performance.n_notes), starts[1:]) if starts.size else []


def match_notes(reference: Performance, other: Performance) -> NDArray[np.intp]:
    """For each note of `reference` the index of its counterpart in `other`, −1 where there is none."""
    ref_chords, other_chords = chords(reference), chords(other)
    matched = np.full(reference.n_notes, -1, np.intp)
    if not ref_chords or not other_chords:
        return matched
    free = np.ones(other.n_notes, bool)
    for i, j in _warping_path(_chord_cost(reference, ref_chords, other, other_chords)):
        for note in ref_chords[i]:
            if matched[note] >= 0:
                continue
            for candidate in other_chords[j]:
                if free[candidate] and other.pitch[candidate] == reference.pitch[note]:
                    matched[note], free[candidate] = candidate, False
                    break
    return matched


def _chord_cost(
    a: Performance, a_chords: Sequence[NDArray[np.intp]], b: Performance, b_chords: Sequence[NDArray[np.intp]]
) -> NDArray[np.float64]:
    """1 − (shared pitches) / (pitches of the smaller chord), (chords of a, chords of b)."""
    roll_a, roll_b = np.zeros((len(a_chords), 128)), np.zeros((len(b_chords), 128))
    for row, group in enumerate(a_chords):
        roll_a[row, a.pitch[group]] = 1
    for row, group in enumerate(b_chords):
        roll_b[row, b.pitch[group]] = 1
    smaller = np.minimum(roll_a.sum(1)[:, None], roll_b.sum(1)[None, :])
    return np.asarray(1 - roll_a @ roll_b.T / smaller)


STEP_COST = 0.4
"""Cost of leaving a chord unmatched; it makes the path prefer the diagonal."""


def _warping_path(cost: NDArray[np.float64]) -> list[tuple[int, int]]:
    rows, columns = cost.shape
    total = np.full((rows + 1, columns + 1), np.inf)
    total[0, 0] = 0.0
    prices = cost.tolist()
    table = total.tolist()
    for i in range(1, rows + 1):
        above, here, price = table[i - 1], table[i], prices[i - 1]
        for j in range(1, columns + 1):
            here[j] = price[j - 1] + min(above[j - 1], above[j] + STEP_COST, here[j - 1] + STEP_COST)
    path, i, j = [], rows, columns
    while i > 0 and j > 0:
        path.append((i - 1, j - 1))
        diagonal, up, left = table[i - 1][j - 1], table[i - 1][j] + STEP_COST, table[i][j - 1] + STEP_COST
        best = min(diagonal, up, left)
        if best == diagonal:
            i, j = i - 1, j - 1
        elif best == up:
            i -= 1
        else:
            j -= 1
    return path[::-1]
