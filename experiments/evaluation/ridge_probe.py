"""Ridge probe by encoder layer: closed-form ridge regression on the mean and sd over time of each hidden state.

The statistic and the penalty are chosen on validation rows for each dimension; test rows are of other pieces. The probe is
a floor for every trained head, and shows which layers carry which dimension.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.data.features import Features
from keybed.experiments.data.folds import Fold
from keybed.experiments.evaluation.cross_validation import scored_rows
from keybed.experiments.evaluation.predictions import N_AXES, Correlations, Predictions, over_dimensions, over_seeds
from keybed.heads.inputs import tier_weights
from keybed.heads.ridge import RidgeProbe, both_frames
from keybed.store.format.rows import Rows
from keybed.store.format.vocabulary import DIMENSIONS, TIER_SHARES
from keybed.store.read.store import Store

MOST_ROWS = 8192
"""Rows of each part that the probe reads; its lines hardly change with more."""


@dataclass(frozen=True)
class BestState:
    """The hidden state that validation chose: mean specific r and each dimension's on test rows."""

    state: int
    mean: float
    specific: dict[str, float]


@dataclass(frozen=True)
class RidgeByState:
    """layers: encoder -> mean specific r by state. best: by encoder. rows: training rows."""

    layers: dict[str, tuple[float, ...]]
    best: dict[str, BestState]
    rows: int


def ridge_probe(store: Store, audio: str, midi: str, fold: Fold, rows: Rows) -> RidgeByState:
    """Specific r of every state of both encoders on the fold's test rows."""
    parts = [rows.take(p[:MOST_ROWS]) for p in (fold.train, fold.validation, fold.test)]
    layers, best = {}, {}
    for name in (audio, midi):
        spec = store.recipe.encoder(name)
        by_state, validation_r = [], []
        for state in range(spec.n_states):
            train, validation, test = (store.read(f"{spec.group}/layers[state={state}]", p.index) for p in parts)
            r, predicted = fit_line((train, validation, test), parts)
            by_state.append(specific(scored_rows(parts[2], {"ridge": predicted[None]})))
            validation_r.append(r)
        chosen = int(np.argmax(np.nan_to_num(validation_r, nan=-1)))
        layers[name] = tuple(mean for mean, _ in by_state)
        best[name] = BestState(chosen, *by_state[chosen])
    return RidgeByState(layers, best, len(parts[0]))


def ridge_on_frames(features: Features, fold: Fold) -> NDArray[np.float32]:
    """Predictions (row, 8) of the fold's test rows from mean and sd over the bins of both modalities' frames."""
    positions = [p[:MOST_ROWS] for p in (fold.train, fold.validation, fold.test)]
    blocks = [both_frames(features.batch(p))["both"] for p in positions]
    return fit_line((blocks[0], blocks[1], blocks[2]), [features.rows.take(p) for p in positions])[1]


def fit_line(features: tuple[NDArray, NDArray, NDArray], parts: list[Rows]) -> tuple[float, NDArray[np.float32]]:
    """Mean validation r over the seven axis dimensions, and predictions (row, 8) for the third part.

    features: (row, statistic, width) of training, validation and test rows.
    """
    probe = RidgeProbe()
    for part, x, rows in zip(("train", "validation"), features[:2], parts[:2], strict=True):
        probe.add(part, {"block": x}, rows.score, rows.valid, tier_weights(rows.tier, TIER_SHARES))
    solved = probe.solve([(["train"], ["validation"])])
    best = [solved.best(k).r for k in range(N_AXES)]
    return float(np.mean([0.0 if r is None else r for r in best])), solved.predict({"block": features[2]})


def specific(predictions: Predictions) -> tuple[float, dict[str, float]]:
    """Mean specific r of the model "ridge", and each dimension's."""
    correlations = Correlations(predictions.only(("ridge",)), "specific")
    r = over_seeds(correlations(np.ones((1, correlations.n_pieces))), np.ones((1, correlations.n_seeds)))
    each = {DIMENSIONS[k]: float(r[0, k, 0]) for k in range(N_AXES)}
    return float(over_dimensions(r)[0, 0]), each
