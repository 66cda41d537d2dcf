"""Rows of a filled store made once more, without writing: does this machine say what that one said?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from keybed.extract.encoders.base import Clip, Encoder
from keybed.extract.run.check_recipe import check_same_code, planned_encoders, render_config
from keybed.extract.run.machine import machine_kind
from keybed.extract.run.row_maker import RowMaker, segment_jobs
from keybed.extract.run.shard import feature_arrays, label_arrays
from keybed.store import Store


class Recomputer:
    """Calls return the task-written arrays of some rows of one shard, in their order.

    Only these rows are made, so encoders meet them in other batches than the extraction's: on the same kind of machine
    the difference is rounding.
    """

    def __init__(self, store: Store, encoders: Sequence[Encoder], maker: RowMaker) -> None:
        self._store, self._encoders, self._maker = store, encoders, maker

    @property
    def machine(self) -> dict[str, str]:
        """The kind of this machine, as the extraction's logs name theirs."""
        return machine_kind()

    def __call__(self, shard: int, rows: Sequence[int]) -> dict[str, np.ndarray]:
        """rows: numbers of rows in the store, all in this shard, ascending."""
        start, stop = self._store.shard_range(shard)
        places = np.asarray(rows) - start
        columns = {name: column[places] for name, column in self._store.columns(start, stop).items()}
        made = [row for job in segment_jobs(columns) for row in self._maker.make(job)]
        window_s = self._maker.config.window_s
        clips = [
            None if row.audio is None or row.performance is None else Clip(row.audio, row.performance, window_s)
            for row in made
        ]
        arrays = label_arrays(made)
        for encoder in self._encoders:
            arrays |= feature_arrays(encoder, clips)
        return arrays


def recomputer(store: Store, places: Mapping[str, str] | None = None) -> Recomputer:
    """A recomputer whose soundfont, weights and code are checked against the recipe. Raises NotAsPlanned."""
    found = {**store.machine_paths, **(places or {})}
    check_same_code(store.recipe)
    return Recomputer(store, planned_encoders(store.recipe, found), RowMaker(render_config(store, found)))
