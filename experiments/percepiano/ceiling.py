"""Noise ceilings: the largest R² and r that any model can reach, given the disagreement among raters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from keybed.experiments.percepiano.reader import RATERS_A_SEGMENT, Ratings
from keybed.experiments.percepiano.within import less_passage_mean


@dataclass(frozen=True)
class Ceilings:
    """Largest R² over all performances and largest within-passage r over human performances, per scale."""

    r2: tuple[float, ...]
    within_r: tuple[float, ...]


def ceilings(ratings: Ratings, raters: int = RATERS_A_SEGMENT) -> Ceilings:
    """The ceilings that the disagreement of `raters` raters per performance sets.

    The variance of a mean of `raters` ratings is sd² / (raters − 1), because the published sd is that of the ratings
    (divisor n). NaN where no sd is known.
    """
    error = np.nanmean(ratings.sd**2, axis=0) / (raters - 1)
    total = ratings.rating.var(axis=0)
    around = less_passage_mean(ratings.rating, ratings.passage, ratings.human)[ratings.human]
    n, passages = len(around), np.unique(ratings.passage[ratings.human]).size
    inside = (around**2).sum(axis=0) / max(n - passages, 1)
    human_error = np.nanmean(ratings.sd[ratings.human] ** 2, axis=0) / (raters - 1)
    return Ceilings(
        r2=tuple(np.clip(1 - error / total, 0, 1).tolist()),
        within_r=tuple(np.sqrt(np.clip(1 - human_error / inside, 0, 1)).tolist()),
    )
