"""Audit of a store with several soundfonts: independence from tier and split, and what heads keep on another soundfont.

    keybed plan MAESTRO_DIR STORE --limit 500 --soundfont A.sf2,B.sf2; keybed extract STORE
    python -m keybed.experiments.audits.pianos STORE

Trains the ridge and the heads audio only, MIDI only and concatenation on each soundfont alone and on half of the segments of each
(as many rows), and tests each on the test rows of each soundfont. With two soundfonts the plan holds none out.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.curve.cells import HEADS, ridge_predictions
from keybed.experiments.curve.repeated_data import RepeatedData
from keybed.experiments.data.features import Features
from keybed.experiments.data.folds import Fold, outer_folds
from keybed.experiments.data.view import View, pair_of
from keybed.experiments.evaluation.cross_validation import Budget, compiled_once, head_configs, scored_rows
from keybed.experiments.evaluation.curve_results import RIDGE
from keybed.experiments.evaluation.intervals import Interval, intervals
from keybed.experiments.evaluation.predictions import Correlations, over_dimensions, over_seeds
from keybed.experiments.reports.page import with_interval
from keybed.heads import fitted, train
from keybed.store.errors import KeybedError
from keybed.store.format.rows import Rows
from keybed.store.format.soundfonts import soundfont_names
from keybed.store.format.vocabulary import SPLITS, TIERS
from keybed.store.read.opening import open_store
from keybed.store.read.store import Store

BOTH = "both"


class OnePiano(KeybedError):
    """The store has one soundfont."""


def shares(columns: Mapping[str, NDArray], names: list[str]) -> dict[str, dict[str, list[int]]]:
    """Rows by tier and by split of each soundfont: name → "tier" or "split" → counts."""
    table: dict[str, dict[str, list[int]]] = {}
    for number, name in enumerate(names):
        own = columns["soundfont"] == number
        table[name] = {
            "tier": np.bincount(columns["tier"][own], minlength=len(TIERS)).tolist(),
            "split": np.bincount(columns["split"][own], minlength=len(SPLITS)).tolist(),
        }
    return table


def training_rows(
    rows: Rows, train_positions: NDArray[np.int64], n_soundfonts: int
) -> dict[int | str, NDArray[np.int64]]:
    """Training rows of each soundfont, and of every n-th segment of each, all of about as many rows."""
    of: dict[int | str, NDArray[np.int64]] = {
        i: train_positions[rows.soundfont[train_positions] == i] for i in range(n_soundfonts)
    }
    part = []
    for positions in of.values():
        segments = np.unique(rows.segment[positions])
        part.append(positions[np.isin(rows.segment[positions], segments[::n_soundfonts])])
    return {**of, BOTH: np.sort(np.concatenate(part))}


def transfer(store: Store, budget: Budget) -> dict[tuple[str, str, str], Interval]:
    """(model, trained on, tested on) → mean specific r over the seven dimensions."""
    names = soundfont_names(store.recipe.audio)
    if len(names) < 2:
        raise OnePiano(f"{store.path} has one soundfont; plan a store with --soundfont A.sf2,B.sf2")
    rows = store.rows()
    features = Features(store, View(*pair_of(store, None, None)), rows)
    folds = outer_folds(rows, 5)
    labels: list[int | str] = [*range(len(names)), BOTH]
    parts: dict[str, list[NDArray[np.float32]]] = {}
    with compiled_once():
        for fold in folds:
            chosen = training_rows(rows, fold.train, len(names))
            for label in labels:
                for model, predicted in _predictions(features, fold, chosen[label], budget).items():
                    parts.setdefault(f"{model}|{label}", []).append(predicted)
    tested = np.concatenate([fold.test for fold in folds])
    fold_of = np.concatenate([np.full(len(fold.test), i) for i, fold in enumerate(folds)])
    joined = {name: np.concatenate(p, axis=1) for name, p in parts.items()}
    found: dict[tuple[str, str, str], Interval] = {}
    for number, name in enumerate(names):
        own = np.flatnonzero(rows.soundfont[tested] == number)
        predictions = replace(
            scored_rows(rows.take(tested[own]), {key: p[:, own] for key, p in joined.items()}), fold=fold_of[own]
        )
        values = _mean_r(Correlations(predictions, "specific"))
        for key, value in zip(predictions.names, values, strict=True):
            model, _, label = key.partition("|")
            trained = label if label == BOTH else names[int(label)]
            found[model, trained, name] = value
    return found


def _mean_r(correlations: Correlations) -> NDArray[np.object_]:
    """Mean over the seven dimensions of each model, with its interval."""

    def statistic(pieces: NDArray[np.float64], seeds: NDArray[np.float64]) -> NDArray[np.float64]:
        return over_dimensions(over_seeds(correlations(pieces), seeds))

    return intervals(statistic, correlations.n_pieces, correlations.n_seeds)


def _predictions(
    features: Features, fold: Fold, chosen: NDArray[np.int64], budget: Budget
) -> dict[str, NDArray[np.float32]]:
    """Model → predictions (seed, row, 8) of the fold's test rows."""
    config = budget.fit_config(len(fold.train))
    data = RepeatedData(features, chosen, fold.validation, config.batch_rows, len(fold.train))
    fit = train.fit(head_configs(HEADS, budget, "frames"), data, config)
    predicted = fitted.predict(fit, features.batches(fold.test, config.batch_rows))
    ridge = ridge_predictions(features, chosen, fold)
    return {**predicted, RIDGE: np.repeat(ridge[None], budget.seeds, axis=0)}


def main(path: Path) -> None:
    """Print both tables."""
    store = open_store(path)
    names = soundfont_names(store.recipe.audio)
    print("rows of each soundfont")
    for name, counts in shares(store.columns(0, store.n_rows), names).items():
        print(f"{name:24s} by tier {counts['tier']}, by split {counts['split']}")
    print("\nmodel, trained on, tested on: mean specific r (95 % interval over test pieces and seeds)")
    for (model, trained, tested), value in sorted(transfer(store, Budget(epochs=10, seeds=2)).items()):
        print(f"{model:10s} {trained:24s} {tested:24s} {with_interval(value)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
