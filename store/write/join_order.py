"""The order of the rows of joined stores. Pure functions.

Splits stay contiguous, in the order train, validation, test. Within a split whole shards of the sources come where a shard
of the joined store begins, so that their files can be taken as they are; the other rows fill the space between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from keybed.store.format import shards
from keybed.store.format.vocabulary import SPLITS

Numbers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class JoinOrder:
    """source and row of each row of the joined store, and the range of each split."""

    source: Numbers
    row: Numbers
    split_ranges: dict[str, tuple[int, int]]

    def whole_shard(self, start: int, stop: int, source_shard_rows: Sequence[int]) -> tuple[int, int] | None:
        """(source, shard) where these rows are exactly one whole shard of a source; None otherwise."""
        source, first, n_rows = int(self.source[start]), int(self.row[start]), stop - start
        whole = (
            n_rows == source_shard_rows[source]
            and first % n_rows == 0
            and bool((self.source[start:stop] == source).all())
            and bool((self.row[start:stop] == np.arange(first, first + n_rows)).all())
        )
        return (source, first // n_rows) if whole else None


def join_order(splits: Sequence[NDArray[np.uint8]], source_shard_rows: Sequence[int], shard_rows: int) -> JoinOrder:
    """Order the rows of several stores.

    splits: of every source, the split of each row, in row order. Rows of one segment stay together.
    """
    sources, rows = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    ranges: dict[str, tuple[int, int]] = {}
    begin = 0
    for split, name in enumerate(SPLITS):
        whole: list[tuple[Numbers, Numbers]] = []
        rest: list[tuple[Numbers, Numbers]] = []
        for source, (of_source, own_shard_rows) in enumerate(zip(splits, source_shard_rows, strict=True)):
            loose = []
            for shard in range(shards.count(len(of_source), own_shard_rows)):
                start, stop = shards.shard_range(shard, own_shard_rows, len(of_source))
                inside = start + np.flatnonzero(of_source[start:stop] == split)
                if len(inside) == shard_rows == own_shard_rows:
                    whole.append((np.full(shard_rows, source), inside))
                else:
                    loose.append(inside)
            own = np.concatenate(loose) if loose else np.zeros(0, np.int64)
            rest.append((np.full(len(own), source), own))
        loose_source, loose_row = (np.concatenate(part) for part in zip(*rest, strict=True))
        gap = -begin % shard_rows
        if whole and len(loose_row) < gap:  # no shard of this split can begin where one of the joined store does
            parts = [*whole, (loose_source, loose_row)]
        else:
            parts = [(loose_source[:gap], loose_row[:gap]), *whole, (loose_source[gap:], loose_row[gap:])]
        sources += [part[0] for part in parts]
        rows += [part[1] for part in parts]
        stop = begin + sum(len(part[1]) for part in parts)
        ranges[name] = (begin, stop)
        begin = stop
    return JoinOrder(np.concatenate(sources).astype(np.int64), np.concatenate(rows).astype(np.int64), ranges)
