"""Pairwise accuracy: share of pairs of degraded variants of a segment that are put in the right order. Chance is 0.5.

Both variants have the same piece, player and difficulty. A pair counts where both scores are valid and differ; a tie of the
predictions counts half. Pairs with the pristine variant are left out: there it is enough to notice any mistake at all
(`ordering` has them). R² and ranking come apart: a head can place the level of a segment well and order its variants badly.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.evaluation.predictions import Predictions
from keybed.store.format.vocabulary import DIMENSIONS, TIERS

Floats = NDArray[np.float64]


class PairwiseAccuracy:
    """Share of pairs in the right order as a function of piece weights. The same interface as `predictions.Correlations`."""

    def __init__(self, predictions: Predictions) -> None:
        self.names, self.n_seeds = predictions.names, predictions.n_seeds
        self.dimensions = DIMENSIONS
        pieces = predictions.pieces
        self.n_pieces = len(pieces)
        first, second = _pairs(predictions.segment)
        piece = np.searchsorted(pieces, predictions.piece[first])
        shape = (len(self.names), self.n_seeds)
        self._right = np.zeros((self.n_pieces, len(DIMENSIONS), *shape))
        self._pairs = np.zeros((self.n_pieces, len(DIMENSIONS)))
        degraded = (predictions.tier != TIERS.index("pristine"))[:, None]
        known = predictions.valid & np.isfinite(predictions.score) & degraded
        for k in range(len(DIMENSIONS)):
            wanted = np.sign(predictions.score[first, k].astype(np.float64) - predictions.score[second, k])
            counts = known[first, k] & known[second, k] & (wanted != 0)
            a, b, at, sign = first[counts], second[counts], piece[counts], wanted[counts]
            self._pairs[:, k] = np.bincount(at, minlength=self.n_pieces)
            for n, predicted in enumerate(predictions.by_model.values()):
                for s, one in enumerate(predicted[:, :, k]):
                    right = (1 + sign * np.sign(one[a] - one[b])) / 2
                    self._right[:, k, n, s] = np.bincount(at, weights=right, minlength=self.n_pieces)

    def __call__(self, piece_weights_BxP: Floats) -> Floats:
        """Accuracy as (B, dimension, name, seed); NaN where no pair differs."""
        right = np.einsum("bp,pkns->bkns", piece_weights_BxP, self._right, optimize=True)
        pairs = (piece_weights_BxP @ self._pairs)[:, :, None, None]
        return np.divide(right, pairs, out=np.full(right.shape, np.nan), where=pairs > 0)


def _pairs(segment: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Every pair of rows of one segment, once."""
    order = np.argsort(segment, kind="stable")
    ordered, first, second = segment[order], [], []
    for step in range(1, len(order)):
        same = ordered[:-step] == ordered[step:]
        if not same.any():
            break
        first.append(order[:-step][same])
        second.append(order[step:][same])
    nothing = np.zeros(0, np.int64)
    return np.concatenate([nothing, *first]), np.concatenate([nothing, *second])
