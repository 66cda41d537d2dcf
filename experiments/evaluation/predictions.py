"""Predictions of several models on the same rows, and their weighted correlations with the scores.

Heads, swapped heads, composed models and shortcut baselines are all named predictions over the same rows. `Correlations`
keeps sums per piece, so that a bootstrap of thousands of resamples takes seconds for any number of rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from keybed.heads.metrics import PartialSums, specific_controls
from keybed.store.format.vocabulary import AXIS_DIMENSIONS, DIMENSIONS, TIERS

N_AXES = len(AXIS_DIMENSIONS)
Kind = Literal["specific", "plain", "within_tier"]


@dataclass(frozen=True, eq=False)
class Predictions:
    """Predictions (seed, row, dimension) by model name, and the labels of the rows.

    score and valid: (row, 8); piece, segment, tier: (row,). Every prediction has the same number of seeds; one that has
    no seed of its own (a shortcut) is repeated.
    """

    by_model: Mapping[str, NDArray[np.float32]]
    score: NDArray[np.float32]
    valid: NDArray[np.bool_]
    tier: NDArray[np.uint8]
    segment: NDArray[np.int32]
    piece: NDArray[np.int32]
    difficulty: NDArray[np.float32]
    fold: NDArray[np.int64] | None = None
    """The fold that tested each row; None where one set of heads tested all."""
    dimensions: tuple[str, ...] = DIMENSIONS
    """Names of the scores; those of the ratings where the rows have ratings by people."""

    def __post_init__(self) -> None:
        wanted = (self.n_seeds, len(self.tier), len(self.dimensions))
        for name, predicted in self.by_model.items():
            if predicted.shape != wanted:
                raise ValueError(f"predictions of {name}: {predicted.shape}, not {wanted}")

    @property
    def n_seeds(self) -> int:
        """Seeds of every prediction."""
        return next(iter(self.by_model.values())).shape[0]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the models in order."""
        return tuple(self.by_model)

    @property
    def pieces(self) -> NDArray[np.int32]:
        """The distinct pieces, sorted: the order of every piece weight."""
        return np.unique(self.piece)

    def only(self, names: tuple[str, ...]) -> Predictions:
        """The same rows with these models alone."""
        return replace(self, by_model={name: self.by_model[name] for name in names})


def rows_of_models(predictions: Predictions, chosen: NDArray[np.bool_], names: Sequence[str]) -> Predictions:
    """These rows and models alone."""
    rows, p = np.flatnonzero(chosen), predictions
    return replace(
        p,
        by_model={name: p.by_model[name][:, rows] for name in names},
        fold=None if p.fold is None else p.fold[rows],
        **{name: getattr(p, name)[rows] for name in ("score", "valid", "tier", "segment", "piece", "difficulty")},
    )


class Correlations:
    """Correlations of predictions with scores as a function of piece weights.

    kind "specific": on non-pristine rows, given the other six axis scores (the seven axis dimensions). "plain": Pearson
    on all rows (all dimensions). "within_tier": given the tier (eight dimensions), on the rows of tiers in which the score
    varies: in the others, such as pristine, predictions have nothing to agree with. Only rows whose dimension is valid count. A partial correlation is that of the residuals of a least-squares fit on the controls; where
    another axis is not valid, its score is set to its mean and one more control marks it as missing.

    Out of fold every part of the rows has heads of its own, each with its own offset and scale. Predictions are
    standardised within their fold first (without labels), so that r does not depend on differences in calibration between
    the folds' heads.
    """

    def __init__(self, predictions: Predictions, kind: Kind) -> None:
        self.names = predictions.names
        self.n_seeds = predictions.n_seeds
        self.n_pieces = len(predictions.pieces)
        self.dimensions = AXIS_DIMENSIONS if kind == "specific" else predictions.dimensions
        self._sums = [_sums(predictions, kind, k) for k in range(len(self.dimensions))]

    def __call__(self, piece_weights_BxP: NDArray[np.float64]) -> NDArray[np.float64]:
        """r as (B, dimension, name, seed); NaN where a score or a prediction does not vary."""
        shape = (len(piece_weights_BxP), len(self.names), self.n_seeds)
        return np.stack([s.partial_r(piece_weights_BxP).reshape(shape) for s in self._sums], axis=1)


def _sums(predictions: Predictions, kind: Kind, k: int) -> PartialSums:
    rows = predictions.valid[:, k] & np.isfinite(predictions.score[:, k])
    if kind == "specific":
        rows = rows & (predictions.tier != TIERS.index("pristine"))
    if kind == "within_tier":
        for tier in np.unique(predictions.tier[rows]):
            same = rows & (predictions.tier == tier)
            if np.ptp(predictions.score[same, k]) == 0:
                rows = rows & ~same
    order = np.flatnonzero(rows)
    order = order[np.argsort(predictions.piece[order], kind="stable")]
    scores = (predictions.score[order].astype(np.float64) - 75) / 15
    ones = np.ones((len(order), 1))
    if kind == "specific":
        known = predictions.valid[order] & np.isfinite(scores)
        controls = np.hstack([ones, specific_controls(scores, known, k)])
    elif kind == "within_tier":
        controls = (predictions.tier[order, None] == np.arange(len(TIERS))).astype(np.float64)
    else:
        controls = ones
    predicted = np.concatenate([p[:, order, k] for p in predictions.by_model.values()]).T.astype(np.float64)
    fold = np.zeros(len(order), np.int64) if predictions.fold is None else predictions.fold[order]
    for f in np.unique(fold):
        part = predicted[fold == f]
        predicted[fold == f] = (part - part.mean(0)) / np.maximum(part.std(0), 1e-9)
    y = scores[:, k]

    starts = np.searchsorted(predictions.piece[order], predictions.pieces)
    stops = np.searchsorted(predictions.piece[order], predictions.pieces, side="right")
    pieces = [slice(start, stop) for start, stop in zip(starts, stops, strict=True)]
    return PartialSums.of(controls, y, predicted, pieces)


def over_seeds(r_BxKxNxS: NDArray[np.float64], seed_weights_BxS: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weighted mean over seeds: (B, K, N)."""
    share = seed_weights_BxS / seed_weights_BxS.sum(1, keepdims=True)
    mean: NDArray[np.float64] = np.einsum("bkns,bs->bkn", r_BxKxNxS, share)
    return mean


def over_dimensions(r_BxKxN: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the dimensions that exist (B, N). A model whose prediction is constant counts as r = 0 there.

    A dimension without variance in its score is NaN for every model and is left out of the mean; a constant model is NaN alone.
    """
    absent = np.isnan(r_BxKxN).all(axis=2, keepdims=True)
    filled = np.where(absent, 0, np.nan_to_num(r_BxKxN))
    n_present = (~absent).sum(axis=1)
    return np.divide(filled.sum(1), n_present, out=np.full(filled.sum(1).shape, np.nan), where=n_present > 0)
