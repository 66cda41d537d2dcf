"""What a linear probe reads of one axis from features, and how far the features move: pure functions of arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from keybed.experiments.evaluation.linear_probe import area_under_roc, out_of_fold

LARGEST_MOVEMENT = 3.0
"""Upper limit on the movement of one feature, so that a nearly constant feature cannot dominate the mean."""


@dataclass(frozen=True)
class ProbeResult:
    """Movement and probe of one axis, for one encoder, state and pooling. r, auc: None where no segment can show the axis."""

    encoder: str
    state: str
    pooling: str
    axis: str
    movement: float
    """At the poor tier's level."""
    movement_by_level: tuple[float, ...]
    r: float | None
    auc_by_level: tuple[float | None, ...]
    n_segments: int


def probe(
    key: tuple[str, str, str, str], vectors_NxMxF: np.ndarray, level_NxM: np.ndarray, piece_N: np.ndarray, folds: int
) -> ProbeResult:
    """Probe one axis: key (encoder, state, pooling, axis), features and levels of N segments × M members (untouched first).

    A ridge regression is fitted in `folds` by piece. Where fewer pieces than folds are there, or no feature moves, r is 0.
    """
    n, m, width = vectors_NxMxF.shape
    movement = movement_by_level(vectors_NxMxF)
    if len(np.unique(piece_N)) < folds or max(movement) < 1e-6:
        # Features that do not move hold no information: r is 0 and the area under the ROC curve is 0.5.
        auc: tuple[float | None, ...] = tuple([0.5 if n else None] * (m - 1))
        return ProbeResult(
            *key,
            movement=movement[-1],
            movement_by_level=movement,
            r=0.0 if n else None,
            auc_by_level=auc,
            n_segments=n,
        )
    # Levels of dynamics and expression are shares that are kept; their sign is turned, so that a larger level is always worse.
    worse = level_NxM if level_NxM[:, -1].mean() > level_NxM[:, 0].mean() else -level_NxM
    predicted = out_of_fold(
        vectors_NxMxF.reshape(n * m, width), worse.astype(np.float64).ravel(), np.repeat(piece_N, m), folds
    ).reshape(n, m)
    spread = predicted.std() * worse.std()
    r = float(np.mean((predicted - predicted.mean()) * (worse - worse.mean())) / spread) if spread > 0 else 0.0
    aucs = tuple(area_under_roc(predicted[:, k], predicted[:, 0]) for k in range(1, m))
    return ProbeResult(*key, movement=movement[-1], movement_by_level=movement, r=r, auc_by_level=aucs, n_segments=n)


def movement_by_level(vectors_NxMxF: np.ndarray) -> tuple[float, ...]:
    """Root mean square change at each level, in units of the distance between two untouched segments; 0 for one segment."""
    untouched = vectors_NxMxF[:, 0]
    if len(untouched) < 2:
        return tuple([0.0] * (vectors_NxMxF.shape[1] - 1))
    spread = untouched.std(0)
    kept = spread > 1e-6 * np.maximum(1.0, np.abs(untouched).mean(0))
    change = (vectors_NxMxF[:, 1:, kept] - untouched[:, None, kept]) / spread[kept]
    # The limit keeps a feature that is nearly constant in untouched segments from dominating the mean.
    moved_MxF = np.minimum(np.sqrt((change**2).mean(0) / 2), LARGEST_MOVEMENT)
    return tuple(float(x) for x in np.sqrt((moved_MxF**2).mean(1)))
