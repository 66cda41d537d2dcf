from __future__ import annotations

import itertools

import pytest
import torch

from keybed.extract.encoders.transkun.intervals import Interval, best_intervals


def _value(scores_TxT: torch.Tensor, intervals: tuple[Interval, ...]) -> float:
    return float(sum(scores_TxT[first, last] for first, last in intervals))


def _every_set(n_frames: int) -> list[tuple[Interval, ...]]:
    """Every set of intervals that share end points at most; those of one frame lie within no other."""
    long = [(b, e) for b in range(n_frames) for e in range(b + 1, n_frames)]
    apart = [
        chosen
        for n in range(n_frames)
        for chosen in itertools.combinations(long, n)
        if all(first[1] <= second[0] for first, second in itertools.pairwise(sorted(chosen)))
    ]
    sets: list[tuple[Interval, ...]] = []
    for chosen in apart:
        free = [t for t in range(n_frames) if not any(b < t < e for b, e in chosen)]
        for n in range(len(free) + 1):
            sets += [(*chosen, *((t, t) for t in alone)) for alone in itertools.combinations(free, n)]
    return sets


@pytest.mark.parametrize("seed", range(5))
def test_the_path_is_the_best_of_all(seed: int) -> None:
    scores = torch.randn(3, 5, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    sets = _every_set(5)
    for track, found in enumerate(best_intervals(scores, [0, 0, 0])):
        best = max(sets, key=lambda intervals: _value(scores[track], intervals))
        assert sorted(found) == sorted(best)


def test_tracks_begin_where_they_are_told_to() -> None:
    scores = torch.full((2, 6, 6), -1.0)
    scores[:, 0, 2], scores[:, 3, 5] = 5.0, 1.0
    assert best_intervals(scores, [0, 1]) == [[(0, 2), (3, 5)], [(3, 5)]]
