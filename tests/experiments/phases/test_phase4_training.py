"""Phase 4 trains for two lengths, and each fold's validation rows choose."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from keybed.experiments.data.folds import Fold
from keybed.experiments.evaluation.cross_validation import Budget
from keybed.experiments.phases import phase4_training
from keybed.experiments.phases.phase4_training import FULL_EPOCHS, FusionTrainer, full_budgets


def test_epochs_that_are_given_are_the_only_ones() -> None:
    short = Budget(seeds=2)
    assert full_budgets(short) == (short, Budget(epochs=FULL_EPOCHS, seeds=2))
    assert full_budgets(Budget(epochs=3)) == (Budget(epochs=3),)


def test_each_fold_keeps_the_length_that_its_validation_rows_prefer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    validation = {("fold 1", None): 0.5, ("fold 1", 20): 0.4, ("fold 2", None): 0.5, ("fold 2", 20): 0.6}
    folders = []

    def cross_validate(features: Any, folds: list[Fold], heads: Any, budget: Budget, **options: Any) -> SimpleNamespace:
        name = folds[0].name
        folders.append(options["checkpoints"].relative_to(tmp_path).as_posix())
        choice = SimpleNamespace(validation={"gated": validation[name, budget.epochs], "audio": 9.0})
        return SimpleNamespace(choices=(choice,), of=(name, budget.epochs))

    monkeypatch.setattr(phase4_training, "cross_validate", cross_validate)
    monkeypatch.setattr(phase4_training, "merge_folds", lambda parts: [part.of for part in parts])
    rows = np.arange(4)
    folds = [Fold(f"fold {number}", rows, rows, rows) for number in (1, 2)]
    store: Any = SimpleNamespace(fingerprint="f")
    features: Any = [None, None]
    trainer = FusionTrainer(store, tmp_path, folds, full_budgets(Budget()), "gated", lambda *_: None)
    trained = trainer.run("raw", features)
    assert trained.result == [("fold 1", None), ("fold 2", 20)]
    assert [budget.epochs for budget in trained.budgets] == [None, 20]
    assert trained.epochs(64 * 85) == [9, 20]  # 85 batches an epoch
    assert folders == [
        "checkpoints/raw/0",
        "checkpoints/raw-20-epochs/0",
        "checkpoints/raw/1",
        "checkpoints/raw-20-epochs/1",
    ]
