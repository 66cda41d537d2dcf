"""Correlation of the residuals of the audio head and the MIDI head, and the gain of fusion that it allows.

Two unbiased judges with error variances σ_a² and σ_m² and error correlation ρ: the weights that sum to 1 and give the
smallest error variance reach σ_a² σ_m² (1 − ρ²) / (σ_a² + σ_m² − 2ρ σ_a σ_m) (Bates and Granger, The combination of
forecasts, OR 20 (1969), section 3). It equals the smaller variance where ρ is the ratio of the smaller to the larger σ.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.evaluation.intervals import Interval, intervals
from keybed.experiments.evaluation.model_names import SINGLES
from keybed.experiments.evaluation.predictions import Predictions
from keybed.store.format.vocabulary import DIMENSIONS, TIERS

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ErrorPair:
    """One dimension. error: standard deviation of the residuals in points of 100, by modality.

    allowed: share by which the best weights lower the error variance of the better head. reached: the share by which the
    fusion lowers it. Both are 0 where fusion helps nothing; reached is negative where the fusion errs more.
    """

    correlation: Interval
    error: dict[str, Interval]
    allowed: Interval
    reached: Interval


def combined_variance(variance_a: Floats, variance_m: Floats, covariance: Floats) -> Floats:
    """Error variance of the best weighting of two judges; the smaller one where they err alike."""
    spread = variance_a + variance_m - 2 * covariance
    smaller = np.minimum(variance_a, variance_m)
    together = variance_a * variance_m - covariance**2
    best = np.where(spread > 1e-9 * (variance_a + variance_m), together / np.maximum(spread, 1e-300), smaller)
    return np.clip(best, 0.0, smaller)


def error_pairs(predictions: Predictions, fusion: str) -> dict[str, ErrorPair]:
    """Residuals of "audio" and "midi" against each other, by dimension, and those of `fusion`.

    Valid rows that are not pristine, as for specific r: a head that hears noise knows that a row is degraded, which would count
    in every dimension. Residuals are centred within their fold, whose heads have an offset of their own. Intervals over pieces
    and seeds.
    """
    sums = np.stack([_sums_by_piece(predictions, (*SINGLES, fusion), k) for k in range(len(DIMENSIONS))])

    def statistic(pieces: Floats, seeds: Floats) -> Floats:
        share = seeds / seeds.sum(1, keepdims=True)
        total = np.einsum("bp,kpsm->bksm", pieces, sums, optimize=True)
        n = np.where(total[..., :1] > 1, total[..., :1], np.nan)
        moment = total[..., 1:] / n
        mean, product = moment[..., :3], moment[..., 3:]
        a, m, f = (product[..., i] - mean[..., i] ** 2 for i in range(3))
        covariance = product[..., 3] - mean[..., 0] * mean[..., 1]
        better = np.minimum(a, m)
        with np.errstate(divide="ignore", invalid="ignore"):
            values = np.stack(
                [
                    np.where((a > 1e-9) & (m > 1e-9), covariance / np.sqrt(a * m), np.nan),
                    np.sqrt(np.maximum(a, 0)),
                    np.sqrt(np.maximum(m, 0)),
                    np.where(better > 1e-9, 1 - combined_variance(a, m, covariance) / better, np.nan),
                    np.where(better > 1e-9, 1 - f / better, np.nan),
                ],
                axis=-1,
            )
        return np.einsum("bksv,bs->bkv", values, share)

    of = intervals(statistic, sums.shape[1], sums.shape[2])
    return {
        dimension: ErrorPair(of[k, 0], dict(zip(SINGLES, of[k, 1:3], strict=True)), of[k, 3], of[k, 4])
        for k, dimension in enumerate(DIMENSIONS)
    }


def _sums_by_piece(predictions: Predictions, names: tuple[str, ...], k: int) -> Floats:
    """(piece, seed, 8): number of rows, sums of the three residuals, of their squares, and of audio × MIDI."""
    degraded = predictions.tier != TIERS.index("pristine")
    rows = np.flatnonzero(predictions.valid[:, k] & np.isfinite(predictions.score[:, k]) & degraded)
    pieces = predictions.pieces
    at = np.searchsorted(pieces, predictions.piece[rows])
    fold = np.zeros(len(rows), np.int64) if predictions.fold is None else predictions.fold[rows]
    score = predictions.score[rows, k].astype(np.float64)
    sums = np.zeros((len(pieces), predictions.n_seeds, 8))
    for s in range(predictions.n_seeds):
        residual = np.stack([predictions.by_model[name][s, rows, k] - score for name in names])
        for f in np.unique(fold):
            residual[:, fold == f] -= residual[:, fold == f].mean(axis=1, keepdims=True)
        columns = [np.ones(len(rows)), *residual, *residual**2, residual[0] * residual[1]]
        for c, column in enumerate(columns):
            sums[:, s, c] = np.bincount(at, weights=column, minlength=len(pieces))
    return sums
