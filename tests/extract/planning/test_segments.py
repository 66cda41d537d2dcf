from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from keybed.extract.corpus.layouts import read_corpus
from keybed.extract.corpus.pieces import find_pieces
from keybed.extract.corpus.windows import n_windows
from keybed.extract.planning.segments import Segments, all_segments, choose_segments, order_rows
from keybed.store.format.vocabulary import SPLITS


@pytest.fixture(scope="module")
def maestro(shared_data: Path) -> Segments:
    recordings = read_corpus(shared_data / "maestro-v3.0.0.csv").recordings
    return all_segments(recordings, find_pieces(recordings))


@pytest.fixture(scope="module")
def mini(shared_data: Path) -> Segments:
    recordings = read_corpus(shared_data / "maestro-mini").recordings
    return all_segments(recordings, find_pieces(recordings))


def test_maestro_has_113934_segments_and_455736_rows(maestro: Segments) -> None:
    assert len(maestro) == 113_934
    assert order_rows(maestro, 0).columns["tier"].size == 455_736


@pytest.mark.parametrize(("duration_s", "n"), [(9.99, 0), (10.0, 1), (16.19, 1), (16.2, 2), (45.2, 6)])
def test_windows_that_fit(duration_s: float, n: int) -> None:
    assert n_windows(duration_s) == n


def test_every_window_lies_inside_its_recording(maestro: Segments, shared_data: Path) -> None:
    durations = np.array([r.duration_s for r in read_corpus(shared_data / "maestro-v3.0.0.csv").recordings])
    assert np.all(maestro.start_s + 10.0 <= durations[maestro.recording] + 1e-9)
    first = np.r_[True, np.diff(maestro.recording) != 0]
    assert np.all(maestro.start_s[first] == 0)
    np.testing.assert_allclose(np.diff(maestro.start_s)[~first[1:]], 6.2)


def test_rows_keep_splits_contiguous_and_variants_together(mini: Segments) -> None:
    order = order_rows(mini, seed=3)
    columns = order.columns
    assert order.split_ranges["train"][0] == 0
    assert order.split_ranges["test"][1] == 4 * len(mini)
    for code, name in enumerate(SPLITS):
        start, stop = order.split_ranges[name]
        assert np.all(columns["split"][start:stop] == code)
    by_segment = columns["segment"].reshape(-1, 4)
    assert np.all(by_segment == by_segment[:, :1])
    assert np.all(columns["tier"].reshape(-1, 4) == [0, 1, 2, 3])
    assert sorted(by_segment[:, 0]) == sorted(mini.segment)
    train = by_segment[: order.split_ranges["train"][1] // 4, 0]
    assert np.mean(np.diff(train) == 1) < 0.01


def test_the_order_hangs_on_the_seed_alone(mini: Segments) -> None:
    a, b, c = (order_rows(mini, seed).columns["segment"] for seed in (0, 0, 1))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


@pytest.mark.parametrize("limit", [1, 7, 60, 500])
def test_a_limit_is_kept_exactly_and_spread(mini: Segments, limit: int) -> None:
    few = choose_segments(mini, limit, seed=0)
    assert len(few) == limit
    assert np.unique(few.segment).size == limit
    for split in range(3):
        pieces = few.piece[few.split == split]
        counts = np.bincount(pieces)[np.unique(pieces)] if pieces.size else np.array([0])
        n_pieces = np.unique(mini.piece[mini.split == split]).size
        assert np.unique(pieces).size == min(pieces.size, n_pieces)
        assert counts.max() - counts.min() <= 1 or limit == 500  # short pieces run out
    if limit >= 60:
        assert np.all(np.bincount(few.split, minlength=3) >= 0.15 * limit - 1)


def test_a_limit_spreads_over_a_pieces_recordings(mini: Segments) -> None:
    few = choose_segments(mini, 500, seed=0)
    piece = few.piece[few.split == 0][0]
    taken = few.recording[few.piece == piece]
    assert np.unique(taken).size == np.unique(mini.recording[mini.piece == piece]).size


def test_a_larger_limit_keeps_what_a_smaller_one_chose(mini: Segments) -> None:
    assert set(choose_segments(mini, 60, 0).segment) <= set(choose_segments(mini, 120, 0).segment)


def test_no_limit_and_too_large_a_limit_keep_everything(mini: Segments) -> None:
    assert choose_segments(mini, None, 0) is mini
    assert choose_segments(mini, 10**6, 0) is mini


def test_a_corpus_of_one_split_can_be_limited(mini: Segments) -> None:
    only = mini.take(np.flatnonzero(mini.split == 2))
    assert len(choose_segments(only, 10, 0)) == 10


def test_full_size_takes_seconds(maestro: Segments) -> None:
    began = time.process_time()
    order_rows(choose_segments(maestro, 100_000, 0), 0)
    assert time.process_time() - began < 5
