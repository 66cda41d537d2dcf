"""Specific r (partial correlation given the other six scores) of predictions on one axis, with 95 % intervals over pieces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.evaluation.intervals import Interval, intervals
from keybed.heads.metrics import PartialSums
from keybed.store.format.vocabulary import AXES

Predictions = Mapping[str, NDArray[np.float64]]
"""Name of a model → its predictions (n, 8)."""


@dataclass(frozen=True, eq=False)
class Judged:
    """The n rows that are judged. score, valid: (n, 8). piece: (n,), the pieces that are resampled."""

    score: NDArray[np.float32]
    valid: NDArray[np.bool_]
    piece: NDArray[np.int64]


def specific_r(judged: Judged, predictions: Predictions, axis: str, replicates: int) -> dict[str, Interval]:
    """Specific r of every model on one axis."""
    sums = _sums(judged, predictions, axis)
    n_pieces = len(np.unique(judged.piece))
    bounds = intervals(lambda weight, _: sums.partial_r(weight), n_pieces, 1, replicates=replicates)
    return dict(zip(predictions, bounds, strict=True))


def mean_gain(
    judged: Judged, predictions: Predictions, model: str, base: str, axes: tuple[str, ...], replicates: int
) -> Interval:
    """Mean over axes of a model's specific r less that of another; both are resampled together."""
    both = {name: predictions[name] for name in (model, base)}
    sums = [_sums(judged, both, axis) for axis in axes]

    def gain(weight: NDArray[np.float64], _: NDArray[np.float64]) -> NDArray[np.float64]:
        mean = np.mean([s.partial_r(weight) for s in sums], axis=0)
        return np.asarray(mean[..., :1] - mean[..., 1:])

    (bounds,) = intervals(gain, len(np.unique(judged.piece)), 1, replicates=replicates)
    return bounds


def _sums(judged: Judged, predictions: Predictions, axis: str) -> PartialSums:
    k = AXES.index(axis)
    score, valid, piece = judged.score, judged.valid, judged.piece
    rows = np.flatnonzero(valid[:, k])
    rows = rows[np.argsort(piece[rows], kind="stable")]
    others = [j for j in range(len(AXES)) if j != k]
    control = np.where(valid[rows][:, others], score[rows][:, others], np.nan).astype(np.float64)
    control = np.where(np.isfinite(control), control, np.nanmean(control, axis=0))
    control = np.column_stack([(control - control.mean(axis=0)) / control.std(axis=0), np.ones(rows.size)])
    stacked = np.column_stack([p[rows, k] for p in predictions.values()])
    stacked = stacked - stacked.mean(axis=0)
    edges = np.searchsorted(piece[rows], [*np.unique(piece), np.inf])
    groups = [slice(a, b) for a, b in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)]
    return PartialSums.of(control, score[rows, k].astype(np.float64) - score[rows, k].mean(), stacked, groups)
