from __future__ import annotations

import numpy as np

from keybed.store.write.join_order import join_order


def splits(train: int, validation: int, test: int) -> np.ndarray:
    return np.repeat(np.arange(3, dtype=np.uint8), [train, validation, test])


def test_whole_shards_stay_whole_and_splits_contiguous() -> None:
    # shards of 4: source 0 has rows 0–3, 4–7 in train, 8–9 train with 10–11 validation, 12–15 test
    order = join_order([splits(10, 2, 4), splits(8, 4, 4)], [4, 4], 4)
    assert order.split_ranges == {"train": (0, 18), "validation": (18, 24), "test": (24, 32)}
    assert list(zip(order.source[:18].tolist(), order.row[:18].tolist(), strict=True)) == [
        *((0, row) for row in range(8)),
        *((1, row) for row in range(8)),
        (0, 8),
        (0, 9),
    ]
    # validation begins at row 18: two loose rows come first, so that source 1's whole shard begins at row 20
    assert list(zip(order.source[18:24].tolist(), order.row[18:24].tolist(), strict=True)) == [
        (0, 10),
        (0, 11),
        *((1, row) for row in range(8, 12)),
    ]
    whole = [order.whole_shard(start, start + 4, [4, 4]) for start in range(0, 32, 4)]
    assert whole == [(0, 0), (0, 1), (1, 0), (1, 1), (0, 2), (1, 2), (0, 3), (1, 3)]


def test_every_row_comes_once_whatever_the_shards() -> None:
    sources = [splits(37, 5, 9), splits(3, 0, 22), splits(64, 16, 16)]
    for shard_rows, own in ((8, [8, 8, 8]), (16, [8, 16, 16]), (4, [2, 4, 3])):
        order = join_order(sources, own, shard_rows)
        assert sorted(zip(order.source.tolist(), order.row.tolist(), strict=True)) == [
            (source, row) for source, rows in enumerate(sources) for row in range(len(rows))
        ]
        for split, (start, stop) in enumerate(order.split_ranges.values()):
            assert all(
                sources[source][row] == split
                for source, row in zip(order.source[start:stop], order.row[start:stop], strict=True)
            )
