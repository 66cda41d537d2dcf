"""Training settings of Phase 2's heads: from its configuration, and for later phases from a finished run."""

from __future__ import annotations

from pathlib import Path

from keybed.experiments.data.run_folder import DELETE_AND_RUN, RunDamaged, read_json
from keybed.experiments.evaluation.cross_validation import Budget
from keybed.experiments.phases.config import Phase2Config

POOLING_BEFORE, WEIGHT_DECAY_BEFORE = "mean", 0.01
"""What heads had before these settings existed; the configurations of such runs do not name them."""


def budget_of(config: Phase2Config, *, ranking: float = Budget.ranking) -> Budget:
    """The settings that a configuration of Phase 2 asks for."""
    return Budget(
        config.epochs,
        config.seeds,
        config.hidden,
        config.batch_rows,
        config.learning_rate,
        ranking,
        pooling=config.pooling,
        weight_decay=config.weight_decay,
    )


def budget_of_run(run: Path) -> tuple[Budget, int]:
    """Settings of a finished Phase 2, and its number of folds, from its config.json. Raises RunDamaged."""
    path = run / "config.json"
    settings = read_json(path).get("config", {})
    try:
        budget = Budget(
            epochs=settings["epochs"],
            seeds=settings["seeds"],
            hidden=settings["hidden"],
            batch_rows=settings["batch_rows"],
            learning_rate=settings["learning_rate"],
            pooling=settings.get("pooling", POOLING_BEFORE),
            weight_decay=settings.get("weight_decay", WEIGHT_DECAY_BEFORE),
        )
        return budget, settings["folds"]
    except (KeyError, TypeError) as error:
        raise RunDamaged(f"{path} is damaged (it is no configuration of Phase 2): {DELETE_AND_RUN}") from error
