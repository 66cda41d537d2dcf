"""Intervals of scores: split conformal, by piece, from predictions of validation rows.

Angelopoulos and Bates, A gentle introduction to conformal prediction (2021), section 2.3: the residual of each row is divided
by how far the seeds disagree there, so that intervals are wide where the heads are unsure. Every piece counts alike. The
quantile is the smallest one at which, on average, a piece that is left out is covered as asked: rows of one piece are alike,
and a quantile over rows would promise too much for a piece that nobody has seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.evaluation.predictions import Predictions

COVERAGE = 0.90
"""Share of passages of a new piece whose label is to lie in the interval."""
FEWEST_ROWS = 20
"""With fewer validation rows a dimension has no interval."""
_LEVELS = np.append(np.arange(COVERAGE, 0.9975, 0.005), 1.0)

Floats = NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class Calibration:
    """Numbers by dimension, (K,). Half the width of an interval is `factor` × (sd over the seeds + `offset`).

    factor is infinite where there are too few validation rows. known_nothing_width: of the central interval of the training
    labels at the same coverage. lowest, highest: the ends of the training labels; scores and intervals are cut there.
    """

    factor_K: Floats
    offset_K: Floats
    known_nothing_width_K: Floats
    lowest_K: Floats
    highest_K: Floats


@dataclass(frozen=True, eq=False)
class Intervals:
    """Scores with their intervals, (row, K). wide: the interval is wider than knowing nothing."""

    score: Floats
    lower: Floats
    upper: Floats
    width: Floats
    """Before it is cut at the ends of the labels."""
    wide: NDArray[np.bool_]


def calibrate(validation: Predictions, head: str, train_score: Floats, train_valid: NDArray[np.bool_]) -> Calibration:
    """Calibrate on predictions of validation rows, (seed, row, K). train_score, train_valid: labels of the training rows."""
    predicted = validation.by_model[head].astype(np.float64)
    factor, offset, width, lowest, highest = (np.full(predicted.shape[2], np.nan) for _ in range(5))
    for k in range(predicted.shape[2]):
        labels = train_score[train_valid[:, k], k].astype(np.float64)
        if labels.size:
            low, high = np.quantile(labels, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
            width[k], lowest[k], highest[k] = high - low, labels.min(), labels.max()
        rows = validation.valid[:, k]
        factor[k] = np.inf
        if rows.sum() < FEWEST_ROWS:
            offset[k] = 1.0
            continue
        spread = predicted[:, rows, k].std(axis=0)
        offset[k] = float(np.median(spread)) or 1.0
        residual = np.abs(predicted[:, rows, k].mean(axis=0) - validation.score[rows, k]) / (spread + offset[k])
        factor[k] = quantile_by_piece(residual, validation.piece[rows])
    return Calibration(factor, offset, width, lowest, highest)


def quantile_by_piece(residual: Floats, piece: NDArray[np.integer]) -> float:
    """The quantile of residuals (n,) that covers COVERAGE of a piece left out, mean over pieces; pieces weigh alike."""
    _, member, size = np.unique(piece, return_inverse=True, return_counts=True)
    weight = 1 / size[member]
    order = np.argsort(residual, kind="stable")
    r, w, m = residual[order], weight[order], member[order]
    pieces = range(len(size))
    if len(size) < 2:
        return _quantile(r, w, COVERAGE)
    others = [m != j for j in pieces]
    for level in _LEVELS:
        covered = [float(np.mean(r[m == j] <= _quantile(r[others[j]], w[others[j]], level))) for j in pieces]
        if np.mean(covered) >= COVERAGE:
            return _quantile(r, w, level)
    return float(r[-1])


def _quantile(ascending: Floats, weight: Floats, level: float) -> float:
    cumulative = np.cumsum(weight)
    at = int(np.searchsorted(cumulative, level * cumulative[-1] * (1 - 1e-12)))
    return float(ascending[min(at, ascending.size - 1)])


def intervals(calibration: Calibration, predicted_SxNxK: Floats) -> Intervals:
    """Scores and intervals of predictions: the mean over seeds, cut at the ends of the training labels."""
    c, predicted = calibration, predicted_SxNxK.astype(np.float64)
    mean = predicted.mean(axis=0)
    half = c.factor_K * (predicted.std(axis=0) + c.offset_K)
    score, lower, upper = (np.clip(x, c.lowest_K, c.highest_K) for x in (mean, mean - half, mean + half))
    return Intervals(score, lower, upper, 2 * half, ~(2 * half <= c.known_nothing_width_K))


def coverage_by_piece(made: Intervals, k: int, test: Predictions) -> tuple[float, float]:
    """Share of test rows whose label lies in the interval: mean over pieces, and the least of a piece; NaN without rows."""
    rows = test.valid[:, k]
    if not rows.any():
        return float("nan"), float("nan")
    score = test.score[rows, k]
    # Labels are float32 and lie on the ends themselves.
    inside = (score >= made.lower[rows, k] - 1e-3) & (score <= made.upper[rows, k] + 1e-3)
    by_piece = [float(inside[test.piece[rows] == piece].mean()) for piece in np.unique(test.piece[rows])]
    return float(np.mean(by_piece)), min(by_piece)
