"""Choose for each axis a segment whose rows differ on that axis, by a seed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from keybed.extract.degrade.curves import CURVES, TIER_BANDS
from keybed.store.format.vocabulary import AXES, LEVELS, TIERS
from keybed.store.read.store import Store

LEAST_GAP = 4.0
"""Two rows of a segment differ on an axis where their scores are at least this many points apart."""


def segments_for(store: Store, axis: str, seed: int) -> list[NDArray[np.int64]]:
    """Row numbers of each segment, the best to hear first; those of one segment by falling score of the axis, pristine first.

    Best: rows in most tiers' bands of the axis; among equals the order is random by the seed and the axis. Only the plan is read.
    """
    columns = store.columns(0, store.n_rows)
    scores = CURVES[axis].score(columns["level_drawn"][:, LEVELS.index(axis)].astype(np.float64))
    scores = np.where(columns["tier"] == TIERS.index("pristine"), 97.5, scores)
    _, first, sizes = np.unique(columns["segment"], return_index=True, return_counts=True)
    rng = np.random.default_rng([seed, AXES.index(axis)])
    random = rng.permutation(first.size)
    ordered = []
    for k in random.tolist():
        rows = np.arange(first[k], first[k] + sizes[k])
        rows = rows[np.lexsort((columns["tier"][rows], -scores[rows]))]
        ordered.append((_apart(scores[rows]), rows))
    ordered.sort(key=lambda item: -item[0])
    return [rows for _, rows in ordered]


def _apart(falling: NDArray[np.float64]) -> int:
    """In how many tiers' bands the scores lie, counting only those LEAST_GAP below the one before."""
    kept = [float(falling[0])]
    for score in falling[1:].tolist():
        if kept[-1] - score >= LEAST_GAP:
            kept.append(score)
    return len({_band(score) for score in kept})


def _band(score: float) -> int:
    return next(i for i, (low, _) in enumerate(TIER_BANDS) if score >= low)
