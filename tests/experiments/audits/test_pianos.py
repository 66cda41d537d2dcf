"""Pianos of a store: shares by tier and split, training rows of each, and what is kept on another one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keybed import store as stores
from keybed.experiments.audits.pianos import BOTH, OnePiano, shares, training_rows, transfer
from keybed.experiments.evaluation.cross_validation import Budget


def _two_pianos(path: Path) -> Any:
    """The store as if every other segment of a piece had another soundfont."""
    opened: Any = stores.open(path)
    names = [{"name": "a.sf2"}, {"name": "b.sf2"}]
    opened.recipe = replace(opened.recipe, audio={**opened.recipe.audio, "soundfonts": names})
    rows = opened.rows()
    drawn = replace(rows, soundfont=(rows.segment % 2).astype(np.uint8))
    opened.rows = lambda: drawn
    return opened


def test_shares_and_training_rows_are_counted(make_store: Callable[..., Path]) -> None:
    rows = _two_pianos(make_store(10, 4)).rows()
    columns = {"soundfont": rows.soundfont, "tier": rows.tier, "split": rows.split}
    assert shares(columns, ["a", "b"])["a"] == {"tier": [20] * 4, "split": [56, 8, 16]}
    chosen = training_rows(rows, np.flatnonzero(rows.split == 0), 2)
    assert [len(chosen[key]) for key in (0, 1, BOTH)] == [56, 56, 56], "as many rows, half of the segments of each"
    assert np.bincount(rows.soundfont[chosen[BOTH]]).tolist() == [28, 28]


@pytest.mark.slow
def test_what_is_learnt_on_one_piano_holds_on_an_equal_one(make_store: Callable[..., Path]) -> None:
    found = transfer(_two_pianos(make_store(12, 8)), Budget(epochs=1, seeds=2, hidden=8))
    assert len(found) == 4 * 3 * 2, "models × trained on × tested on"
    ridge = {key[1:]: value for key, value in found.items() if key[0] == "ridge"}
    assert all(value.value > 0.5 for value in ridge.values())
    assert ridge["a.sf2", "b.sf2"].low < ridge["b.sf2", "b.sf2"].value, "both have the same features"


def test_a_store_of_one_piano_has_no_other(make_store: Callable[..., Path]) -> None:
    with pytest.raises(OnePiano, match="has one soundfont"):
        transfer(stores.open(make_store(4, 2)), Budget())
