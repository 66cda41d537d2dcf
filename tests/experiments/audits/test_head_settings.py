"""The audit of the heads' settings: choices are made on one half of the pieces and tested on the other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from keybed import store as stores
from keybed.experiments.audits.head_settings import Measured, chosen_by_half, lines, measure
from keybed.experiments.evaluation.cross_validation import Budget


def test_a_half_chooses_by_its_own_validation_rows_alone() -> None:
    found = {
        ("a", "midi"): Measured(validation=(0.5, 0.1), test=(0.9, 0.2)),
        ("b", "midi"): Measured(validation=(0.4, 0.3), test=(0.1, 0.7)),
    }
    assert chosen_by_half(found, "midi", 0) == ("a", 0.2)
    assert chosen_by_half(found, "midi", 1) == ("b", 0.1)


def test_the_lines_lead_from_the_former_settings_past_the_defaults() -> None:
    budgets = lines(3)
    assert Budget(seeds=3) in budgets.values()
    first = next(iter(budgets.values()))
    assert (first.epochs, first.hidden, first.pooling, first.weight_decay) == (5, 64, "mean", 0.01)
    assert len(set(budgets.values())) == len(budgets)


@pytest.mark.slow
def test_more_training_is_better_on_both_halves(make_store: Callable[..., Path]) -> None:
    budgets = {"short": Budget(epochs=1, seeds=1, hidden=8), "long": Budget(epochs=12, seeds=1, hidden=8)}
    found = measure(stores.open(make_store(20, 6)), budgets)
    for head in ("midi", "concat"):
        assert all(a > b for a, b in zip(found["long", head].test, found["short", head].test, strict=True))
        assert chosen_by_half(found, head, 0)[0] == chosen_by_half(found, head, 1)[0] == "long"
