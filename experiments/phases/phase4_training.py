"""Phase 4's training: the fusion and the single modalities on aligned and raw features, and the fusion for ablations."""

from __future__ import annotations

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


@dataclass(frozen=True)
class FusionTrainer:
    """Train audio only, MIDI only and the fusion with one budget on given features. out: the run's folder."""

    store: Store
    out: Path
    folds: list[Fold]
    budget: Budget
    fusion: str
    progress: Listener

    def run(self, name: str, features: list[Features]) -> CrossValidation:
        """Cross-validate over all folds, each with its own features."""
        heads = head_configs((*SINGLES, self.fusion), self.budget, "frames")
        return merge_folds(
            [
                cross_validate(
                    fold_features,
                    [fold],
                    heads,
                    self.budget,
                    fingerprint=self.store.fingerprint,
                    n_train_rows=self.largest,
                    checkpoints=self.checkpoints(name, number),
                    progress=named(self.progress, name),
                )
                for number, (fold, fold_features) in enumerate(zip(self.folds, features, strict=True))
            ]
        )

    def fusion_alone(self, name: str, features: list[Features], inputs: str = "frames") -> Predictions:
        """The fusion's predictions of all test rows, for an ablation: without single modalities and swaps."""
        heads = head_configs((self.fusion,), self.budget, inputs)
        by_fold = []
        for number, (fold, fold_features) in enumerate(zip(self.folds, features, strict=True)):
            config = self.budget.fit_config(self.largest, self.checkpoints(name, number) / "fold-1")
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

    def views(self, pair: Pair, rows: Rows, memory_gib: float) -> dict[str, Predictions]:
        """The fusion's predictions on layers, and on every derived view that the store holds."""
        by_condition = {}
        for kind in ("layers", "pooled", "pca128", "pca64", "int8"):
            view = View(pair.audio, pair.midi, kind)
            try:
                features = Features(self.store, view, rows, memory_gib=memory_gib)
            except NoSuchFeature:
                continue  # this view was not derived; the report lists the views that were
            by_condition[f"raw, {kind}"] = self.fusion_alone(kind, [features] * len(self.folds), view.inputs)
        return by_condition
