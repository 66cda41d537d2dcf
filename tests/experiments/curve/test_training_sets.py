"""Nested training sets, and data that repeat them to a fixed number of rows."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np

from keybed import store as stores
from keybed.experiments.curve.repeated_data import RepeatedData
from keybed.experiments.curve.training_sets import CELLS, PIECES, SAME_ROWS, Cell, training_set
from keybed.experiments.data.features import Features
from keybed.experiments.data.view import View


def test_a_larger_share_holds_every_row_of_a_smaller_one(make_store: Callable[..., Path]) -> None:
    rows = stores.open(make_store(20, 8)).rows()
    train = np.flatnonzero(rows.piece < 16)
    sets = [set(training_set(rows, train, cell, (0, 1, 2)).tolist()) for cell in PIECES]
    assert [len(s) for s in sets] == [32, 64, 128, 256, 512], "1, 2, 4, 8 and 16 pieces of 8 segments of 4 rows"
    assert all(a < b for a, b in pairwise(sets))
    assert sets[-1] == set(train.tolist())
    thin = [set(training_set(rows, train, Cell(16, n), (0, 1, 2)).tolist()) for n in (4, 8, 16)]
    assert thin[0] < thin[1] < thin[2]
    other = set(training_set(rows, train, PIECES[1], (0, 2, 2)).tolist())
    assert other != sets[1], "another draw takes other pieces"


def test_the_same_rows_come_from_few_pieces_and_from_all(make_store: Callable[..., Path]) -> None:
    rows = stores.open(make_store(20, 8)).rows()
    train = np.flatnonzero(rows.piece < 16)
    chosen = [training_set(rows, train, cell, (0, 0, 0)) for cell in SAME_ROWS]
    assert [len(c) for c in chosen] == [128, 128, 128]
    assert [len(np.unique(rows.piece[c])) for c in chosen] == [4, 8, 16]
    for c in chosen:
        assert np.bincount(rows.segment[c])[np.unique(rows.segment[c])].tolist() == [4] * 32, "whole segments"


def test_one_piece_and_one_segment_are_the_least(make_store: Callable[..., Path]) -> None:
    rows = stores.open(make_store(3, 2)).rows()
    assert len(training_set(rows, np.arange(len(rows)), Cell(1, 1), (0,))) == 4
    assert len(CELLS) == 8


def test_small_sets_are_repeated_to_the_rows_of_an_epoch(make_store: Callable[..., Path]) -> None:
    store = stores.open(make_store(4, 4))
    features = Features(store, View("test-audio", "test-midi"), store.rows())
    chosen = training_set(features.rows, np.arange(48), Cell(4), (0,))
    data = RepeatedData(features, chosen, np.arange(48, 64), 8, 48)
    batches = list(data.train(0))
    rows = np.concatenate([b.row_B for b in batches])
    assert len(rows) == data.n_train_rows == 48
    assert np.bincount(np.searchsorted(features.rows.index[chosen], rows)).tolist() == [3] * 16
    segments = np.concatenate([b.segment_B for b in batches])
    assert len(np.unique(segments)) == 12, "each repeat of a segment counts as a segment"
    assert [b.n_rows for b in data.validation()] == [8, 8]
    assert not np.array_equal(rows, np.concatenate([b.row_B for b in data.train(1)]))
