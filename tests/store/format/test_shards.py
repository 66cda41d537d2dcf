"""Row, shard and task arithmetic holds for any numbers."""

from __future__ import annotations

import argparse
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keybed.experiments.cli.arguments import numbers as shard_numbers
from keybed.store.format import shards
from keybed.store.format.array_specs import shard_rows_for
from keybed.store.format.feature import Feature, parse_feature


@given(st.integers(1, 10**6), st.sampled_from([32, 64, 256, 1024]))
def test_shards_cover_every_row_once(n_rows, shard_rows):
    ranges = [shards.shard_range(shard, shard_rows, n_rows) for shard in range(shards.count(n_rows, shard_rows))]
    assert ranges[0][0] == 0
    assert ranges[-1][1] == n_rows
    assert all(before[1] == after[0] for before, after in pairwise(ranges))
    with pytest.raises(IndexError, match="numbered from 0"):
        shards.shard_range(len(ranges), shard_rows, n_rows)


@given(st.integers(0, 3000), st.integers(1, 1000))
def test_tasks_share_every_shard_once_and_evenly(n_shards, tasks):
    owned = [shards.shards_of_task(n_shards, task, tasks) for task in range(tasks)]
    assert sorted(shard for mine in owned for shard in mine) == list(range(n_shards))
    assert max(map(len, owned)) - min(map(len, owned)) <= 1
    some = list(range(0, n_shards, 7))
    assert shards.tasks_of_shards(some, tasks) == [t for t in range(tasks) if set(owned[t]) & set(some)]


@given(st.sets(st.integers(0, 500)))
def test_the_command_line_reads_ranges_as_they_are_printed(numbers):
    text = shards.as_ranges(numbers)
    assert (list(shard_numbers(text)) if text else []) == sorted(numbers)


def test_ranges_by_hand():
    assert shards.as_ranges([9, 0, 1, 2, 3, 7, 10]) == "0-3,7,9-10"
    for wrong in ("3-", "a", "-4"):
        with pytest.raises(argparse.ArgumentTypeError, match="numbers and ranges such as"):
            shard_numbers(wrong)


@given(st.integers(1, 10**6), st.integers(0, 10**6), st.integers(0, 1000))
def test_shards_of_a_range_are_those_that_overlap_it(n_rows, start, length):
    start = start % n_rows
    stop = min(n_rows, start + length)
    found = shards.shards_of_range(start, stop, 64)
    assert list(found) == sorted({row // 64 for row in range(start, stop)})


def test_a_task_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="tasks are numbered from 0 to 3"):
        shards.shards_of_task(10, 4, 4)


@pytest.mark.parametrize(("n_rows", "expected"), [(10, 32), (255, 32), (512, 64), (8191, 1024), (455_736, 1024)])
def test_shards_are_at_least_eight_where_rows_allow(n_rows, expected):
    assert shard_rows_for(n_rows) == expected


def test_features_are_named_by_path_and_axes():
    assert parse_feature("audio/mert/layers") == Feature("audio/mert/layers")
    expected = Feature("audio/mert/layers", (("state", 7, None), ("stat", 0, 1)))
    assert parse_feature("audio/mert/layers[state=7, stat=0:1]") == expected
    for wrong in ("a[", "a[state]", "a[state=-1]", "[state=1]", "a[state=1]b"):
        with pytest.raises(ValueError, match="is not a feature"):
            parse_feature(wrong)
