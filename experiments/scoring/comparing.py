"""Differences between performances of the same notes: a difference ridge with an interval, as a scoring model holds it.

A head scores a performance by itself. The ridge was fitted to differences between the variants of a segment. Intervals are
split conformal, by piece, from pairs of variants of validation segments.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.data.features import Features
from keybed.experiments.data.folds import Fold
from keybed.experiments.evaluation.difference_ridge import (
    DifferenceRidge,
    Differences,
    NoSegments,
    fit_difference_ridge,
    spread_segments,
    window_features,
)
from keybed.experiments.scoring.calibration import FEWEST_ROWS, quantile_by_piece
from keybed.experiments.scoring.results import ComparingCard
from keybed.heads.inputs import HeadInput
from keybed.heads.metrics import specific_r
from keybed.store.format.rows import Rows
from keybed.store.format.vocabulary import DIMENSIONS

Floats = NDArray[np.floating]
MOST_ROWS = 16_384
_SOURCE = "both"


@dataclass(frozen=True, eq=False)
class Comparing:
    """slope_DxK: from the D means and sds over the bins of both modalities' frames to K scores; of wide features the means alone.
    half_width_K: half the width of the interval of a difference, infinite where there are too few validation rows."""

    slope_DxK: Floats
    half_width_K: Floats

    def relative_scores(self, batch: HeadInput) -> NDArray[np.float64]:
        """(row, K). The difference of two windows' numbers is the predicted difference of their scores."""
        x = window_features(batch, (_SOURCE,))[_SOURCE]
        return np.asarray(x.reshape(len(x), -1).astype(np.float64) @ self.slope_DxK, np.float64)


def fit_comparing(features: Features, fold: Fold) -> tuple[Comparing, dict[str, ComparingCard]] | None:
    """Fit to the fold's training rows, choose and calibrate on its validation rows, measure on its test rows.

    None for features without bins, and where training or validation has no segment with two rows.
    """
    if features.view.inputs != "frames":
        return None
    try:
        ridge = fit_difference_ridge(
            features, fold.train, fold.validation, sources=(_SOURCE,), fit_on=("train",), most_rows=MOST_ROWS
        )
    except NoSegments:
        return None
    differences = ridge.differences(features, spread_segments(features.rows, fold.validation, MOST_ROWS))
    residual, valid, piece = _pairs(features.rows, differences)
    half = np.full(len(DIMENSIONS), np.inf)
    for k in range(len(DIMENSIONS)):
        if differences.valid[:, k].sum() >= FEWEST_ROWS:
            half[k] = quantile_by_piece(residual[valid[:, k], k], piece[valid[:, k]])
    return Comparing(ridge.slope[_SOURCE], half), _cards(features, fold, ridge, half)


def _cards(features: Features, fold: Fold, ridge: DifferenceRidge, half: Floats) -> dict[str, ComparingCard]:
    judged = ridge.differences(features, spread_segments(features.rows, fold.test, MOST_ROWS))
    residual, valid, piece = _pairs(features.rows, judged)
    degraded = features.rows.tier[judged.position] > 0
    r = specific_r(judged.predicted[_SOURCE][degraded], judged.score[degraded], judged.valid[degraded])
    cards = {}
    for k, name in enumerate(DIMENSIONS):
        rows = valid[:, k]
        inside, known = residual[rows, k] <= half[k], bool(np.isfinite(half[k]))
        covered = [float(inside[piece[rows] == p].mean()) for p in np.unique(piece[rows]) if known]
        width = 2 * float(half[k]) if known else None
        cards[name] = ComparingCard(float(np.mean(covered)) if covered else None, width, r[k])
    return cards


def _pairs(rows: Rows, d: Differences) -> tuple[Floats, NDArray[np.bool_], NDArray[np.int64]]:
    """|predicted − true| of every pair of rows of a segment, (pair, K); which are known; and the pair's piece."""
    segment = rows.segment[d.position]
    order = np.argsort(segment, kind="stable")
    first, last = (
        np.searchsorted(segment[order], segment[order]),
        np.searchsorted(segment[order], segment[order], "right"),
    )
    here = np.arange(len(order))
    pairs = [
        (here[inside], here[inside] + step)
        for step in range(1, int((last - first).max(initial=1)))
        for inside in [here + step < last]
    ]
    a, b = (order[np.concatenate([np.zeros(0, np.int64), *(p[side] for p in pairs)])] for side in (0, 1))
    error = d.predicted[_SOURCE].astype(np.float64) - d.score
    return np.abs(error[a] - error[b]), d.valid[a] & d.valid[b], rows.piece[d.position[a]].astype(np.int64)
