"""Find which note of one performance is which note of another: each key's strokes in their order, at the least summed shift."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from keybed.extract.music.performance import Performance

FARTHEST_S = 1.0
"""Two strokes further apart than this many seconds are not one note moved, but one note left out and another added."""


@dataclass(frozen=True, eq=False)
class Matching:
    """Pairs (index in the first, index in the second), and what has no partner; every index array is int64 and sorted."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    missing: NDArray[np.int64]
    """Indices in the first performance without a partner."""
    added: NDArray[np.int64]
    """Indices in the second performance without a partner."""

    def partner(self) -> dict[int, int]:
        """Index in the first -> index in the second."""
        return dict(zip(self.first.tolist(), self.second.tolist(), strict=True))


def match_notes(first: Performance, second: Performance, farthest_s: float = FARTHEST_S) -> Matching:
    """Match notes of equal pitch."""
    pairs: list[tuple[int, int]] = []
    for pitch in np.intersect1d(first.pitch, second.pitch):
        one, other = np.flatnonzero(first.pitch == pitch), np.flatnonzero(second.pitch == pitch)
        for i, j in match_times(first.onset_s[one], second.onset_s[other], farthest_s):
            pairs.append((int(one[i]), int(other[j])))
    pairs.sort()
    index = np.array(pairs, np.int64).reshape(-1, 2)
    return Matching(
        index[:, 0],
        index[:, 1],
        np.setdiff1d(np.arange(first.n_notes), index[:, 0]),
        np.setdiff1d(np.arange(second.n_notes), index[:, 1]),
    )


def match_times(
    first_s: NDArray[np.float64], second_s: NDArray[np.float64], farthest_s: float = FARTHEST_S
) -> list[tuple[int, int]]:
    """Pairs of two sorted lists of times that keep their order, with the least cost (edit distance, Needleman & Wunsch 1970).

    A pair costs its distance, a time without a partner farthest_s / 2.
    """
    n, m = len(first_s), len(second_s)
    if n == m and np.array_equal(first_s, second_s):
        return [(i, i) for i in range(n)]
    alone = 0.5 * farthest_s
    distance = np.abs(first_s[:, None] - second_s[None])
    cost = np.zeros((n + 1, m + 1))
    cost[:, 0], cost[0] = alone * np.arange(n + 1), alone * np.arange(m + 1)
    for i in range(1, n + 1):
        for j in range(1, m + 1):
            without = min(cost[i - 1, j], cost[i, j - 1]) + alone
            cost[i, j] = min(cost[i - 1, j - 1] + distance[i - 1, j - 1], without)
    pairs, i, j = [], n, m
    while i and j:
        if cost[i, j] == cost[i - 1, j - 1] + distance[i - 1, j - 1]:
            i, j = i - 1, j - 1
            pairs.append((i, j))
        elif cost[i, j] == cost[i - 1, j] + alone:
            i -= 1
        else:
            j -= 1
    return pairs[::-1]
