"""Within-passage correlations: each passage's mean is subtracted first; intervals resample players and passages.

Players and passages are both samples. Both are resampled, and the weight of a performance is its player's count times
its passage's: the pigeonhole bootstrap, Owen, Ann. Appl. Stat. 1 (2007). Its intervals are wide rather than narrow.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.evaluation.intervals import Interval
from keybed.experiments.percepiano.reader import Ratings

Floats = NDArray[np.float64]


def less_passage_mean(values: Floats, passage: NDArray[np.str_], among: NDArray[np.bool_]) -> Floats:
    """Values (n, k) minus the passage's mean over the performances in `among`, or over all of them where none is in it."""
    out = np.asarray(values, np.float64).copy()
    for name in np.unique(passage):
        rows = passage == name
        out[rows] -= values[rows & among].mean(axis=0) if (rows & among).any() else values[rows].mean(axis=0)
    return out


class Within:
    """Within-passage correlations over chosen performances, for any weights of the performances."""

    def __init__(self, ratings: Ratings, among: NDArray[np.bool_]) -> None:
        """Use the performances in `among`, such as the human ones."""
        self.kept = np.flatnonzero(among)
        self.rating = ratings.rating[self.kept]
        _, self._passage = np.unique(ratings.passage[self.kept], return_inverse=True)
        _, self._player = np.unique(ratings.player[self.kept], return_inverse=True)
        self._one_hot = np.eye(self._passage.max() + 1)[self._passage]

    def residuals(self, values: Floats, weight: Floats) -> Floats:
        """Values (kept, k) minus their weighted passage means."""
        total = self._one_hot.T @ (weight[:, None] * values)
        size = np.maximum(self._one_hot.T @ weight, 1e-12)
        return np.asarray(values - (total / size[:, None])[self._passage])

    def r(self, predicted: Floats, rating: Floats | None = None, weight: Floats | None = None) -> Floats:
        """r of each column, (k,); predicted and rating: (kept, k). 0 for a constant prediction."""
        w = np.ones(len(self.kept)) if weight is None else weight
        a, b = self.residuals(predicted, w), self.residuals(self.rating if rating is None else rating, w)
        both = (w[:, None] * a * b).sum(axis=0)
        scale = np.sqrt((w[:, None] * a**2).sum(axis=0) * (w[:, None] * b**2).sum(axis=0))
        return np.divide(both, scale, out=np.zeros_like(both), where=scale > 1e-12)

    def weights(self, replicates: int, seed: int) -> Floats:
        """(replicates, kept): player count × passage count of each resample."""
        rng = np.random.default_rng(seed)
        players, passages = self._player.max() + 1, self._passage.max() + 1
        by_player = rng.multinomial(players, np.full(players, 1 / players), replicates)
        by_passage = rng.multinomial(passages, np.full(passages, 1 / passages), replicates)
        return (by_player[:, self._player] * by_passage[:, self._passage]).astype(np.float64)

    def compare(self, predictions: Sequence[Floats], *, replicates: int = 1000, seed: int = 0) -> Floats:
        """Mean r over scales of each prediction (all performances, k) in each resample: (replicates, predictions)."""
        kept = [p[self.kept] for p in predictions]
        drawn = self.weights(replicates, seed)
        return np.array([[self.r(p, weight=w).mean() for p in kept] for w in drawn])


def pairwise_accuracy(predicted: Floats, rating: Floats, passage: NDArray[np.str_], among: NDArray[np.bool_]) -> Floats:
    """Share of pairs of performances of one passage whose order is predicted right, (k,); 0.5 is chance.

    Pairs with equal ratings are left out, equal predictions count half; NaN where no pair is left.
    """
    right, pairs = np.zeros(rating.shape[1]), np.zeros(rating.shape[1])
    for name in np.unique(passage[among]):
        rows = np.flatnonzero((passage == name) & among)
        first, second = np.triu_indices(rows.size, 1)
        wanted = np.sign(rating[rows[first]] - rating[rows[second]])
        got = np.sign(predicted[rows[first]] - predicted[rows[second]])
        right += ((1 + wanted * got) / 2 * (wanted != 0)).sum(axis=0)
        pairs += (wanted != 0).sum(axis=0)
    return np.divide(right, pairs, out=np.full_like(right, np.nan), where=pairs > 0)


def interval(value: float, drawn: Floats) -> Interval:
    """Percentile interval of 95 %."""
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Interval(float(value), float(low), float(high))
