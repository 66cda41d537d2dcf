"""The columns under `row/`: those written by `keybed plan`, and those that tasks write shard by shard."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from keybed.store.format import shards
from keybed.store.format.array_specs import plan_written, task_written
from keybed.store.format.feature import Feature
from keybed.store.read.reader import Reader


class RowColumns:
    """All columns of all rows, by their names without "row/"."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._task_shards: frozenset[int] | None = None
        self._task_columns: dict[str, np.ndarray] = {}

    @cached_property
    def planned(self) -> dict[str, np.ndarray]:
        """The plan-written columns. Raises ShardDamaged where one is not what was planned."""
        paths = (spec.path for spec in plan_written(self._reader.shards.specs))
        return {path.removeprefix("row/"): self._reader.whole(path) for path in paths}

    def task_written(self, committed: frozenset[int]) -> dict[str, np.ndarray]:
        """The task-written columns; rows outside the committed shards hold the fill value.

        They are read again only when the set of committed shards has changed.
        """
        if self._task_shards != committed:
            specs = task_written(self._reader.shards.specs)
            paths = [spec.path for spec in specs if spec.path.startswith("row/")]
            self._task_columns = {path.removeprefix("row/"): self._column(path, committed) for path in paths}
            self._task_shards = committed
        return self._task_columns

    def _column(self, path: str, committed: frozenset[int]) -> np.ndarray:
        array, feature = self._reader.array(path), Feature(path)
        column = np.full(array.shape, array.fill_value, array.dtype)
        rows_of = self._reader.shards.rows_of
        for run in shards.runs(committed):
            start, stop = rows_of(run.start)[0], rows_of(run.stop - 1)[1]
            self._reader.read_block(feature, start, stop, out=column[start:stop])
        return column
