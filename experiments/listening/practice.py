"""Practice clips: one per dimension, in which that dimension is poor and the others are good, and one pristine for the overall.

They come from segments that are not rated, so no rated clip is heard beforehand.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.listening.stratified_sample import Candidates
from keybed.store.counted import counted
from keybed.store.errors import KeybedError
from keybed.store.format.vocabulary import AXIS_DIMENSIONS, DIMENSIONS

OTHERS_WEIGHT = 0.5
"""How much the other dimensions' mean score counts against the shown one's: both should be clear, the shown one most."""


class TooFewSegments(KeybedError):
    """The store has too few segments beside the rated ones."""


def practice_clips(
    candidates: Candidates, chosen: NDArray[np.int64], n: int, *, fewer: bool = False
) -> dict[int, str | None]:
    """Position of each practice clip → the dimension that it shows, in the order of DIMENSIONS; None shows none in particular.

    n up to 8 takes the first n dimensions; more are further clips without a dimension. A clip for the overall score is
    pristine where there is one left. Raises TooFewSegments, unless `fewer` clips will do.
    """
    free = ~np.isin(candidates.segment, candidates.segment[chosen])
    wanted: list[str | None] = [*DIMENSIONS, *[None] * n][:n]
    shown: dict[int, str | None] = {}
    for dimension in wanted:
        unsuited = _unsuited(candidates, dimension)
        pool = np.flatnonzero(free & np.isfinite(unsuited))
        if pool.size == 0:
            if fewer:
                continue
            raise TooFewSegments(
                f"no segment is left for {counted(n, 'practice clip')}; give a smaller --n or --anchors"
            )
        best = int(pool[np.argmin(unsuited[pool])])
        shown[best] = dimension
        free &= candidates.segment != candidates.segment[best]
    return shown


def _unsuited(candidates: Candidates, dimension: str | None) -> NDArray[np.float64]:
    """How badly each row (row,) shows a dimension: 0 is best, NaN where it cannot."""
    known = np.where(candidates.valid, candidates.score, np.nan)
    rest = known
    own = np.zeros(len(known))
    if dimension in AXIS_DIMENSIONS:
        k = AXIS_DIMENSIONS.index(dimension)
        own, rest = known[:, k], np.delete(known, k, axis=1)
    some = np.isfinite(rest).any(axis=1)
    others = np.full(len(known), np.nan)
    others[some] = np.nanmean(rest[some], axis=1)
    if dimension in AXIS_DIMENSIONS:
        return np.asarray(own - OTHERS_WEIGHT * others)
    if dimension is not None:
        return 100.0 - others
    return np.abs(others - np.nanmedian(others)) if some.any() else others
