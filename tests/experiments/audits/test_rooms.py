"""Rooms of a store: shares by tier, correlations with scores by hand, and a leak that the audit finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keybed import store as stores
from keybed.experiments.audits.rooms import NoRooms, correlations, counts, exchanged, heard, measures


@pytest.fixture
def store(make_store: Callable[..., Path]) -> Any:
    """A store whose segments draw two rooms in turn, with a microphone of their own."""
    opened: Any = stores.open(make_store(10, 4))
    rows, read = opened.rows(), opened.read
    rooms = {"rooms": {"rt60_s": [0.5, 1.5], "sha256": "0" * 64, "version": 1}}
    opened.recipe = replace(opened.recipe, audio={**opened.recipe.audio, **rooms})
    drawn = np.random.default_rng(0).normal(size=(int(rows.segment.max()) + 1, 4)).astype(np.float32)
    columns = {"row/room": (rows.segment % 2).astype(np.uint8), "row/microphone": drawn[rows.segment]}
    opened.read = lambda path, index: columns[path][index] if path in columns else read(path, index)
    opened.columns_of_test = columns
    return opened


def test_rooms_are_counted_and_their_decay_stands_first(store: Any) -> None:
    rows = store.rows()
    room, of_row = measures(store, rows)
    assert counts(room, rows) == {0: ([20] * 4, [56, 8, 16]), 1: ([20] * 4, [56, 8, 16])}
    assert np.array_equal(of_row[:, 0], np.where(rows.segment % 2, 1.5, 0.5))


def test_correlations_are_those_of_valid_scores_and_none_with_the_tier(store: Any) -> None:
    rows = store.rows()
    _, of_row = measures(store, rows)
    r = correlations(of_row, rows)
    assert r[:, 0] == pytest.approx(0, abs=1e-12), "four tiers in each segment"
    ok = rows.valid[:, 2]
    assert r[3, 3] == pytest.approx(np.corrcoef(of_row[ok, 3], rows.score[ok, 2])[0, 1])


def test_a_room_that_follows_a_score_is_told_from_chance(store: Any) -> None:
    rows = store.rows()
    _, of_row = measures(store, rows)
    others = exchanged(of_row, rows, n=40)
    assert 0.05 < np.median(others) < 0.5
    leak = of_row.copy()
    leak[:, 1] = rows.score[:, 0]
    assert np.nanmax(np.abs(correlations(leak, rows))) > others.max()


def test_a_ridge_hears_a_measure_that_the_features_hold(store: Any) -> None:
    rows = store.rows()
    _, of_row = measures(store, rows)
    random = np.random.default_rng(1)
    features = np.column_stack(
        [of_row[:, 1] + random.normal(scale=0.1, size=len(rows)), random.normal(size=(len(rows), 3))]
    )
    r = heard(features, of_row, rows)
    assert r[1] > 0.95
    assert max(r[0], *r[2:]) < 0.5


def test_what_is_no_store_with_rooms_is_refused(store: Any, make_store: Callable[..., Path]) -> None:
    plain = stores.open(make_store(4, 2))
    with pytest.raises(NoRooms, match="plan a store with --rooms N"):
        measures(plain, plain.rows())
    store.columns_of_test["row/room"] = store.rows().tier
    store.recipe.audio["rooms"]["rt60_s"] = [0.5, 1.0, 1.5, 2.0]
    with pytest.raises(ValueError, match="differ in room"):
        measures(store, store.rows())
