from __future__ import annotations

import json
import math

import numpy as np
import pytest

from keybed.experiments.data.run_folder import RunDamaged
from keybed.experiments.evaluation.cross_validation import Budget, head_configs
from keybed.experiments.phases.config import Phase2Config
from keybed.experiments.phases.phase2_budget import budget_of, budget_of_run


@pytest.mark.parametrize(
    ("rows", "epochs"),
    [(57, 15), (1_216, 10), (4_864, 10), (6_400, 8), (40_000, 5), (359_000, 5)],
)
def test_small_stores_get_more_epochs_until_there_are_750_steps(rows, epochs):
    config = Budget().fit_config(rows)
    assert config.epochs == epochs
    assert Budget(epochs=3).fit_config(rows).epochs == 3


@pytest.mark.parametrize("rows", [1_216, 4_864, 359_000])
@pytest.mark.parametrize("epochs", [None, 20])
def test_a_free_weight_shrinks_to_one_over_e_in_any_number_of_steps(rows, epochs):
    config = Budget(epochs=epochs).fit_config(rows)
    steps = config.epochs * -(-rows // config.batch_rows)
    rates = config.rates(steps)[:steps].astype(np.float64)
    assert math.isclose(np.prod(1 - config.weight_decay * rates), math.exp(-1), rel_tol=0.03)


def test_a_fit_of_a_few_steps_is_not_held_at_zero():
    assert Budget(epochs=1).fit_config(64).weight_decay == 1.0
    assert Budget(weight_decay=0.02).fit_config(64).weight_decay == 0.02


def test_the_settings_of_a_finished_phase_2_are_read_back(tmp_path):
    config = Phase2Config(tmp_path, tmp_path, hidden=32, pooling="mean", weight_decay=0.1, batch_rows=16)
    saved = {
        name: getattr(config, name) for name in ("epochs", "seeds", "hidden", "batch_rows", "learning_rate", "folds")
    }
    new = {**saved, "pooling": config.pooling, "weight_decay": config.weight_decay}
    (tmp_path / "config.json").write_text(json.dumps({"config": new}))
    assert budget_of_run(tmp_path) == (budget_of(config), 5)
    # A run of before the two settings: its heads pooled the mean, and AdamW's decay was 0.01.
    (tmp_path / "config.json").write_text(json.dumps({"config": {**saved, "epochs": 5}}))
    before, _ = budget_of_run(tmp_path)
    assert (before.epochs, before.pooling, before.weight_decay) == (5, "mean", 0.01)
    assert head_configs(("cross",), before, "frames")["cross"].pooling == "mean"
    (tmp_path / "config.json").write_text(json.dumps({"config": {"seeds": 5}}))
    with pytest.raises(RunDamaged, match="no configuration of Phase 2"):
        budget_of_run(tmp_path)
