"""The rows of each split: ranges in the order train, validation, test, without gaps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keybed.store.counted import counted
from keybed.store.format.vocabulary import SPLITS


def checked_splits(ranges: Mapping[str, Any], n_rows: int) -> dict[str, tuple[int, int]]:
    """Split → rows (start, stop). Raises ValueError, TypeError or AttributeError where they do not cover all rows in order."""
    if not isinstance(ranges, Mapping) or set(ranges) != set(SPLITS):
        raise ValueError(f"need the splits {', '.join(SPLITS)}")
    splits, expected = {}, 0
    for name in SPLITS:
        start, stop = ranges[name]
        if type(start) is not int or type(stop) is not int or start != expected or stop < start:
            raise ValueError(f"split {name} is rows {start}–{stop}, but must start at {expected}: no gaps")
        splits[name] = (start, stop)
        expected = stop
    if expected != n_rows:
        raise ValueError(f"splits end at row {expected}, the recipe has {counted(n_rows, 'row')}")
    return splits
