"""Correlations of labels and models with expert ratings over clips, corrected for rater noise, with intervals over pieces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.evaluation.intervals import Interval, intervals
from keybed.experiments.evaluation.predictions import Correlations, Predictions
from keybed.store.format.vocabulary import AXIS_DIMENSIONS, DIMENSIONS, TIERS

Floats = NDArray[np.float64]
FEW_PIECES = 10
"""With fewer pieces, intervals resample segments, and the report says that they hold for these pieces alone."""
SMALLEST_RELIABILITY = 0.05
"""Of the raters' mean; below it, r cannot be corrected for rater noise."""


@dataclass(frozen=True, eq=False)
class ExpertRatings:
    """Expert ratings of the clips, NaN where there is none.

    ratings: (clip, rater, dimension). robust: (clip, dimension), quality by the rater model.
    """

    ratings: Floats
    robust: Floats

    @property
    def mean(self) -> Floats:
        """Mean over raters after each rater's own mean is subtracted: (clip, dimension)."""
        return centred_mean(self.ratings)


def centred_mean(ratings_CxRxK: Floats) -> Floats:
    """Mean over raters after each rater's own mean is subtracted, plus the grand mean: (clip, dimension)."""
    known = ~np.isnan(ratings_CxRxK)
    filled = np.where(known, ratings_CxRxK, 0)
    own = filled.sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    grand = own.mean(axis=0)
    centred = np.where(known, ratings_CxRxK - own + grand, 0)
    count = known.sum(axis=1)
    return np.where(count > 0, centred.sum(axis=1) / np.maximum(count, 1), np.nan)


@dataclass(frozen=True)
class ExpertCorrelation:
    """One dimension's correlations with the experts.

    r: with the raters' mean. robust_r: with the rater model's quality. true_r: r divided by the square root of the
    reliability. specific: partial correlation given the other six axis labels, on clips that are not pristine; None for
    the overall dimension. ceiling: the largest r that rater noise allows.
    """

    r: Interval
    robust_r: Interval
    true_r: Interval
    specific: Interval | None
    ceiling: float
    reliability: float
    n: int


def labels_against(
    experts: ExpertRatings,
    score: Floats,
    valid: NDArray[np.bool_],
    tier: NDArray[np.int64],
    piece: NDArray[np.int64],
    segment: NDArray[np.int64],
    *,
    replicates: int = 2000,
    seed: int = 0,
) -> dict[str, ExpertCorrelation]:
    """Correlate labels (clip, 8) with expert ratings: dimension → ExpertCorrelation."""
    targets = {"mean": experts.mean, "robust": experts.robust}
    known = valid & np.isfinite(score) & np.isfinite(experts.mean) & np.isfinite(experts.robust)
    group = _groups(piece, segment)
    as_predictions = _as_predictions({k: np.where(known, v, 0) for k, v in targets.items()}, score, known, tier, group)
    plain, specific = Correlations(as_predictions, "plain"), Correlations(as_predictions, "specific")
    reliability = _Reliability(experts.ratings, known, group)
    n_axes, n_all = len(AXIS_DIMENSIONS), len(DIMENSIONS)

    def statistic(weights: Floats, _: Floats) -> Floats:
        r = plain(weights)[..., 0]
        given = specific(weights)[:, :, 0, 0]
        reliable = reliability(weights)
        with np.errstate(invalid="ignore", divide="ignore"):
            true = r[:, :, 0] / np.sqrt(np.maximum(reliable, SMALLEST_RELIABILITY))
        return np.concatenate([r[:, :, 0], r[:, :, 1], true, given, reliable], axis=1)

    estimates = intervals(statistic, plain.n_pieces, 1, replicates=replicates, seed=seed)
    one = np.ones((1, plain.n_pieces))
    reliable = reliability(one)[0]
    return {
        name: ExpertCorrelation(
            r=estimates[k],
            robust_r=estimates[n_all + k],
            true_r=_true(estimates[2 * n_all + k], reliable[k]),
            specific=estimates[3 * n_all + k] if k < n_axes else None,
            ceiling=float(np.sqrt(max(reliable[k], 0))) if np.isfinite(reliable[k]) else float("nan"),
            reliability=float(reliable[k]),
            n=int(known[:, k].sum()),
        )
        for k, name in enumerate(DIMENSIONS)
    }


def model_against(
    experts: ExpertRatings,
    predicted: Floats,
    piece: NDArray[np.int64],
    segment: NDArray[np.int64],
    *,
    replicates: int = 2000,
    seed: int = 0,
) -> dict[str, tuple[Interval, Interval]]:
    """Correlate predictions (clip, 8) with the raters' mean: dimension → (r, r corrected for rater noise)."""
    known = np.isfinite(experts.mean) & np.isfinite(predicted)
    group = _groups(piece, segment)
    tier = np.full(len(piece), TIERS.index("good"))
    as_predictions = _as_predictions(
        {"model": np.where(known, predicted, 0)}, np.where(known, experts.mean, 0), known, tier, group
    )
    plain, reliability = Correlations(as_predictions, "plain"), _Reliability(experts.ratings, known, group)

    def statistic(weights: Floats, _: Floats) -> Floats:
        r = plain(weights)[:, :, 0, 0]
        return np.concatenate([r, r / np.sqrt(np.maximum(reliability(weights), SMALLEST_RELIABILITY))], axis=1)

    estimates = intervals(statistic, plain.n_pieces, 1, replicates=replicates, seed=seed)
    reliable = reliability(np.ones((1, plain.n_pieces)))[0]
    return {
        name: (estimates[k], _true(estimates[len(DIMENSIONS) + k], reliable[k])) for k, name in enumerate(DIMENSIONS)
    }


def _true(corrected: Interval, reliability: float) -> Interval:
    """r corrected for rater noise, with bounds within ±1; NaN where the raters' reliability is below SMALLEST_RELIABILITY."""
    if not reliability >= SMALLEST_RELIABILITY:
        return Interval(float("nan"), float("nan"), float("nan"))
    return corrected.within(-1.0, 1.0)


def _groups(piece: NDArray[np.int64], segment: NDArray[np.int64]) -> NDArray[np.int64]:
    return piece if np.unique(piece).size >= FEW_PIECES else segment


def _as_predictions(
    predictions: Mapping[str, Floats],
    score: Floats,
    known: NDArray[np.bool_],
    tier: NDArray[np.int64],
    group: NDArray[np.int64],
) -> Predictions:
    n = len(group)
    return Predictions(
        {name: values[None].astype(np.float32) for name, values in predictions.items()},
        np.where(known, score, 0).astype(np.float32),
        known,
        tier.astype(np.uint8),
        np.arange(n, dtype=np.int32),
        group.astype(np.int32),
        np.zeros((n, 0), np.float32),
    )


class _Reliability:
    """Cronbach's alpha of the raters as a function of piece weights: (B, pieces) → (B, dimension).

    It equals ICC(3,k): the reliability of a mean over these raters. Clips that a rater skipped are left out. NaN for a
    dimension with fewer than two raters or three clips that all rated.
    """

    def __init__(self, ratings_CxRxK: Floats, known_CxK: NDArray[np.bool_], group: NDArray[np.int64]) -> None:
        pieces = np.unique(group)
        self._n_raters = ratings_CxRxK.shape[1]
        self._sums = []
        for k in range(ratings_CxRxK.shape[2]):
            y = ratings_CxRxK[:, :, k]
            whole = known_CxK[:, k] & ~np.isnan(y).any(axis=1)
            y = np.where(whole[:, None], y - np.nanmean(np.where(whole[:, None], y, 50.0)), 0.0)
            count = np.array([(whole & (group == p)).sum() for p in pieces], np.float64)
            total = np.stack([y[group == p].sum(axis=0) for p in pieces])
            product = np.stack([y[group == p].T @ y[group == p] for p in pieces])
            self._sums.append((count, total, product))

    def __call__(self, weights_BxP: Floats) -> Floats:
        return np.stack([self._alpha(weights_BxP, *sums) for sums in self._sums], axis=1)

    def _alpha(self, weights: Floats, count: Floats, total: Floats, product: Floats) -> Floats:
        n, k = weights @ count, self._n_raters
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = (weights @ total) / n[:, None]
            covariance = np.tensordot(weights, product, axes=1) / n[:, None, None] - mean[:, :, None] * mean[:, None, :]
            own = np.trace(covariance, axis1=1, axis2=2)
            alpha = k / (k - 1) * (1 - own / covariance.sum(axis=(1, 2))) if k > 1 else np.full(len(n), np.nan)
        return np.where(n >= 3, alpha, np.nan)
