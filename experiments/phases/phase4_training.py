"""Phase 4's training: the fusion and the single modalities on aligned and raw features, and the fusion for ablations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from keybed.experiments.data.features import Features
from keybed.experiments.data.fold_data import FoldData
from keybed.experiments.data.folds import Fold
from keybed.experiments.data.run_facts import Pair
from keybed.experiments.data.view import View
from keybed.experiments.evaluation.cross_validation import (
    Budget,
    CrossValidation,
    cross_validate,
    head_configs,
    merge_folds,
    scored_rows,
)
from keybed.experiments.evaluation.model_names import SINGLES
from keybed.experiments.evaluation.predictions import Predictions
from keybed.heads import fitted, train
from keybed.heads.progress import Listener, named
from keybed.store.errors import NoSuchFeature
from keybed.store.format.rows import Rows
from keybed.store.read.store import Store

FULL_EPOCHS = 20
"""Of the training plan's Phase 4, which is meant for 450,000 rows; small stores are overtrained by it."""


def full_budgets(budget: Budget) -> tuple[Budget, ...]:
    """The budgets that validation rows choose from: that of Phase 2 and FULL_EPOCHS; one where the epochs are given."""
    return (budget,) if budget.epochs is not None else (budget, replace(budget, epochs=FULL_EPOCHS))


@dataclass(frozen=True, eq=False)
class Trained:
    """A condition over all folds, and the budget that was best on each fold's validation rows."""

    result: CrossValidation
    budgets: tuple[Budget, ...]

    def epochs(self, n_train_rows: int) -> list[int]:
        """Epochs of each fold."""
        return [budget.fit_config(n_train_rows).epochs for budget in self.budgets]


@dataclass(frozen=True)
class FusionTrainer:
    """Train audio only, MIDI only and the fusion on given features, for as long as validation rows say. out: the run's folder."""

    store: Store
    out: Path
    folds: list[Fold]
    budgets: tuple[Budget, ...]
    fusion: str
    progress: Listener

    def run(self, name: str, features: list[Features]) -> Trained:
        """Cross-validate over all folds, each with its own features; each fold keeps the budget whose fusion is best on its
        validation rows, in mean specific r."""
        heads = head_configs((*SINGLES, self.fusion), self.budgets[0], "frames")
        parts, kept = [], []
        for number, (fold, fold_features) in enumerate(zip(self.folds, features, strict=True)):
            tried = [
                cross_validate(
                    fold_features,
                    [fold],
                    heads,
                    budget,
                    fingerprint=self.store.fingerprint,
                    n_train_rows=self.largest,
                    checkpoints=self.checkpoints(self.condition(name, budget), number),
                    progress=named(self.progress, self.condition(name, budget)),
                )
                for budget in self.budgets
            ]
            best = max(range(len(tried)), key=lambda i: tried[i].choices[0].validation[self.fusion])
            parts.append(tried[best])
            kept.append(self.budgets[best])
        return Trained(merge_folds(parts), tuple(kept))

    def condition(self, name: str, budget: Budget) -> str:
        """Name of a condition trained with one of several budgets."""
        return name if budget is self.budgets[0] else f"{name}-{budget.epochs}-epochs"

    def fusion_alone(
        self, name: str, features: list[Features], budgets: Sequence[Budget], inputs: str = "frames"
    ) -> Predictions:
        """The fusion's predictions of all test rows, for an ablation: without single modalities and swaps. budgets: one per fold."""
        by_fold = []
        for number, (fold, fold_features, budget) in enumerate(zip(self.folds, features, budgets, strict=True)):
            heads = head_configs((self.fusion,), budget, inputs)
            config = budget.fit_config(self.largest, self.checkpoints(name, number) / "fold-1")
            data = FoldData(fold_features, fold.train, fold.validation, config.batch_rows, self.largest)
            progress = named(self.progress, f"{name}/{fold.name.replace(' ', '-')}")
            fit = train.fit(heads, data, config, store=self.store.fingerprint, progress=progress)
            by_fold.append(fitted.predict(fit, fold_features.batches(fold.test, config.batch_rows))[self.fusion])
        positions = np.concatenate([fold.test for fold in self.folds])
        order = np.argsort(positions, kind="stable")
        fold_of = np.concatenate([np.full(len(fold.test), i) for i, fold in enumerate(self.folds)])
        predictions = scored_rows(
            features[0].rows.take(positions[order]), {self.fusion: np.concatenate(by_fold, axis=1)[:, order]}
        )
        return replace(predictions, fold=fold_of[order] if len(self.folds) > 1 else None)

    @property
    def largest(self) -> int:
        """Training rows of the largest fold."""
        return max(len(fold.train) for fold in self.folds)

    def checkpoints(self, name: str, number: int) -> Path:
        """Folder from which an interrupted fold of a condition continues."""
        return self.out / "checkpoints" / name / str(number)

    def views(self, pair: Pair, rows: Rows, budgets: Sequence[Budget], memory_gib: float) -> dict[str, Predictions]:
        """The fusion's predictions on layers, and on every derived view that the store holds. budgets: one per fold."""
        by_condition = {}
        for kind in ("layers", "pooled", "pca128", "pca64", "int8"):
            view = View(pair.audio, pair.midi, kind)
            try:
                features = Features(self.store, view, rows, memory_gib=memory_gib)
            except NoSuchFeature:
                continue  # this view was not derived; the report lists the views that were
            by_condition[f"raw, {kind}"] = self.fusion_alone(kind, [features] * len(self.folds), budgets, view.inputs)
        return by_condition
