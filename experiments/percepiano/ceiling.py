"""Noise ceilings: the largest R² and r that any model can reach, given the disagreement among raters."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.percepiano.reader import RATERS_A_SEGMENT, Ratings
from keybed.experiments.percepiano.within import less_passage_mean

Floats = NDArray[np.float64]


def ceilings(ratings: Ratings, raters: int = RATERS_A_SEGMENT) -> dict[str, Floats]:
    """Largest R² over all performances and largest within-passage r over human performances, per scale.

    The variance of a mean of `raters` ratings is sd² / (raters − 1), because the published sd is that of the ratings
    (divisor n). NaN where no sd is known.
    """
    error = np.nanmean(ratings.sd**2, axis=0) / (raters - 1)
    total = ratings.rating.var(axis=0)
    around = less_passage_mean(ratings.rating, ratings.passage, ratings.human)[ratings.human]
    n, passages = len(around), np.unique(ratings.passage[ratings.human]).size
    inside = (around**2).sum(axis=0) / max(n - passages, 1)
    human_error = np.nanmean(ratings.sd[ratings.human] ** 2, axis=0) / (raters - 1)
    return {"r2": np.clip(1 - error / total, 0, 1), "within_r": np.sqrt(np.clip(1 - human_error / inside, 0, 1))}
