"""The ridge probe: what a straight line can read from each state of each encoder, in seconds.

Every state's mean and sd over time, penalties chosen on validation rows by squared error, judged on rows of other pieces.
It is a floor for every trained head, and shows which layers know what.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.folds import Fold
from experiments.judged import N_AXES, Correlations, Judged, over_dimensions, over_seeds
from experiments.trial import judged_rows
from heads.inputs import tier_weights
from store.reader import Store
from store.rows import Rows
from store.schema import DIMENSIONS, TIER_SHARES

MOST_ROWS = 4096
"""Training rows that the probe is fitted on; a straight line needs no more."""
PENALTIES = tuple(float(p) for p in 10.0 ** np.arange(-2, 4))
"""Penalty ÷ rows, on channels of unit variance."""
Floats = NDArray[np.float64]


def ridge_probe(store: Store, audio: str, midi: str, fold: Fold, rows: Rows) -> dict[str, Any]:
    """{"layers": encoder -> specific r by state, "best": encoder -> {state, mean, by dimension}} on the fold's judged rows."""
    fitted = fold.train[:MOST_ROWS]
    parts = [rows.take(p) for p in (fitted, fold.validation[:MOST_ROWS], fold.judged[:MOST_ROWS])]
    found: dict[str, Any] = {"layers": {}, "best": {}, "rows": len(fitted)}
    for name in (audio, midi):
        spec = store.recipe.encoder(name)
        by_state, choosing = [], []
        for state in range(spec.n_states):
            x = [
                store.read(f"{spec.group}/layers[state={state}]", part.index).reshape(len(part), -1).astype(np.float64)
                for part in parts
            ]
            validation, judged = _fit(x, parts)
            by_state.append(_specific(judged_rows(parts[2], {"ridge": judged[None]})))
            choosing.append(_specific(judged_rows(parts[1], {"ridge": validation[None]}))[0])
        best = int(np.argmax(np.nan_to_num(choosing, nan=-1)))
        found["layers"][name] = [mean for mean, _ in by_state]
        found["best"][name] = {"state": best, "mean": by_state[best][0], "specific": by_state[best][1]}
    return found


def _specific(judged: Judged) -> tuple[float, dict[str, float]]:
    correlations = Correlations(judged, "specific")
    r = over_seeds(correlations(np.ones((1, correlations.n_pieces))), np.ones((1, 1)))
    each = {DIMENSIONS[k]: float(r[0, k, 0]) for k in range(N_AXES)}
    return float(over_dimensions(r)[0, 0]), each


def _fit(x: list[Floats], parts: list[Rows]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Predictions for validation and judged rows; each dimension takes the penalty that does best on validation."""
    mean, sd = x[0].mean(0), x[0].std(0)
    scale = np.where(sd > 1e-6 * np.maximum(1, np.abs(mean)), 1 / np.maximum(sd, 1e-12), 0)
    z = [(part - mean) * scale for part in x]
    weight = tier_weights(parts[0].tier, TIER_SHARES).astype(np.float64)
    out = [np.zeros((len(part), len(DIMENSIONS)), np.float32) for part in parts[1:]]
    for k in range(len(DIMENSIONS)):
        keep = parts[0].valid[:, k]
        if keep.sum() < 3:
            continue
        root = np.sqrt(weight[keep])[:, None]
        y = parts[0].score[keep, k].astype(np.float64)
        middle = float(np.average(y, weights=weight[keep]))
        left, singular, right = np.linalg.svd(z[0][keep] * root, full_matrices=False)
        projected = left.T @ (root[:, 0] * (y - middle))
        best = (-np.inf, 0.0)
        for penalty in PENALTIES:
            beta = right.T @ (singular / (singular**2 + penalty * keep.sum()) * projected)
            error = z[1] @ beta + middle - parts[1].score[:, k]
            known = parts[1].valid[:, k]
            score = -float(np.mean(error[known] ** 2)) if known.any() else 0.0
            if score > best[0]:
                best = (score, penalty)
        beta = right.T @ (singular / (singular**2 + best[1] * keep.sum()) * projected)
        for values, part in zip(out, z[1:], strict=True):
            values[:, k] = part @ beta + middle
    return out[0], out[1]
