"""Which settings of the heads are best, chosen on one half of the pieces and tested on the other.

    python -m keybed.experiments.audits.head_settings STORE

Each line adds one change to the settings that Phase 2 had before. The heads MIDI only and concatenation are trained on every
fold; r is mean specific r over the seven dimensions, of one seed, on the folds' validation rows. A half's choice is the line
with the best validation r of its pieces; what it is worth is the test r on the pieces of the other half.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.data.features import Features
from keybed.experiments.data.fold_data import FoldData
from keybed.experiments.data.folds import out_of_fold
from keybed.experiments.data.view import View, pair_of
from keybed.experiments.evaluation.cross_validation import Budget, compiled_once, head_configs, scored_rows
from keybed.experiments.evaluation.predictions import Predictions, rows_of_models
from keybed.experiments.evaluation.tables import mean_specific
from keybed.heads import fitted, train
from keybed.store.read.opening import open_store
from keybed.store.read.store import Store

HEADS = ("midi", "concat")
BEFORE = Budget(epochs=5, hidden=64, pooling="mean", weight_decay=0.01)


def lines(seeds: int) -> dict[str, Budget]:
    """Name → settings, from those of before to the defaults and beyond."""
    steps = replace(BEFORE, epochs=None)
    wider = replace(steps, hidden=128)
    spread = replace(wider, pooling="statistics")
    chosen = {
        "before: 5 epochs, width 64, mean, decay 0.01": BEFORE,
        "at least 750 steps": steps,
        "and width 128": wider,
        "and mean and standard deviation of the bins": spread,
        "and decay to 1/e (the defaults)": Budget(),
        "and width 256": Budget(hidden=256),
        "and 20 epochs": Budget(epochs=20),
    }
    return {name: replace(budget, seeds=seeds) for name, budget in chosen.items()}


@dataclass(frozen=True)
class Measured:
    """Mean specific r of one line and head: on validation and test rows of each half of the pieces."""

    validation: tuple[float, float]
    test: tuple[float, float]


def measure(store: Store, budgets: Mapping[str, Budget]) -> dict[tuple[str, str], Measured]:
    """(line, head) → r. Pieces are halved by their number, even and odd."""
    rows = store.rows()
    features = Features(store, View(*pair_of(store, None, None)), rows)
    folds = out_of_fold(rows, 5, seed=0)
    largest = max(len(fold.train) for fold in folds)
    found: dict[tuple[str, str], Measured] = {}
    with compiled_once():
        for name, budget in budgets.items():
            heads, config = head_configs(HEADS, budget, "frames"), budget.fit_config(largest)
            parts: dict[str, list[dict[str, NDArray[np.float32]]]] = {"validation": [], "test": []}
            for fold in folds:
                data = FoldData(features, fold.train, fold.validation, config.batch_rows, largest)
                fit = train.fit(heads, data, config)
                for part, positions in (("validation", fold.validation), ("test", fold.test)):
                    parts[part].append(fitted.predict(fit, features.batches(positions, config.batch_rows)))
            tables: dict[str, Predictions] = {}
            for part, predicted in parts.items():
                each = [getattr(fold, part) for fold in folds]
                joined = {head: np.concatenate([p[head] for p in predicted], axis=1) for head in HEADS}
                of_fold = np.concatenate([np.full(len(positions), i) for i, positions in enumerate(each)])
                tables[part] = replace(scored_rows(rows.take(np.concatenate(each)), joined), fold=of_fold)
            for head in HEADS:
                validation, test = (_by_half(tables[part], head) for part in ("validation", "test"))
                found[name, head] = Measured(validation, test)
    return found


def _by_half(predictions: Predictions, head: str) -> tuple[float, float]:
    odd = predictions.piece % 2 == 1
    even_r, odd_r = (mean_specific(rows_of_models(predictions, half, (head,)), head).value for half in (~odd, odd))
    return even_r, odd_r


def chosen_by_half(found: Mapping[tuple[str, str], Measured], head: str, half: int) -> tuple[str, float]:
    """The line with the best validation r on one half of the pieces, and its test r on the other half."""
    of_head = {name: measured for (name, own), measured in found.items() if own == head}
    best = max(of_head, key=lambda name: of_head[name].validation[half])
    return best, of_head[best].test[1 - half]


def main() -> None:
    """Print r of every line, and what each half of the pieces chooses."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path, help="folder of the store")
    parser.add_argument("--seeds", type=int, default=2, help="seeds of each head (default 2)")
    asked = parser.parse_args()
    budgets = lines(asked.seeds)
    found = measure(open_store(asked.store), budgets)
    print("mean specific r on validation rows of the even and odd pieces, then on their test rows")
    for (name, head), r in found.items():
        numbers = "  ".join(f"{value:.3f}" for value in (*r.validation, *r.test))
        print(f"{head:8s} {name:48s} {numbers}")
    for head in HEADS:
        for half, of_half in enumerate(("even", "odd")):
            best, value = chosen_by_half(found, head, half)
            before = found[next(iter(budgets)), head].test[1 - half]
            print(f"{head}: choice by the {of_half} half: {best}; {value:.3f} on the other half, before {before:.3f}")


if __name__ == "__main__":
    main()
