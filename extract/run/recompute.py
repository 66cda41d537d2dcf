"""Make rows of a filled store again without writing them, to compare them with what the store holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from keybed.extract.audio.waveform import RenderedRow
from keybed.extract.encoders.base import Clip, Encoder
from keybed.extract.run.check_recipe import check_same_code, planned_encoders, render_config
from keybed.extract.run.layers import encoders_of
from keybed.extract.run.machine import machine_kind
from keybed.extract.run.row_arrays import feature_arrays, label_arrays
from keybed.extract.run.row_maker import RowMaker, segment_jobs
from keybed.store import Store


class Recomputer:
    """A call returns the task-written arrays of some rows of one shard, in their order.

    Only these rows are made, so the encoders' batches differ from those of the extraction. On the same kind of machine
    the difference is rounding.
    """

    def __init__(self, store: Store, encoders: Sequence[Encoder], maker: RowMaker) -> None:
        self._store, self._encoders, self._maker = store, encoders, maker

    @property
    def machine(self) -> dict[str, str]:
        """The kind of this machine, in the form that the extraction's logs have."""
        return machine_kind(self._encoders)

    def __call__(self, shard: int, rows: Sequence[int]) -> dict[str, np.ndarray]:
        """rows: row numbers in the store, ascending, all of them in this shard."""
        start, stop = self._store.shard_range(shard)
        within = np.asarray(rows) - start
        columns = {name: column[within] for name, column in self._store.columns(start, stop).items()}
        rendered: list[RenderedRow] = []
        clips: list[Clip | None] = []
        for job in segment_jobs(columns):
            made = self._maker.make(job)
            rendered += made
            clips += self._maker.clips(made, job)
        arrays = label_arrays(rendered)
        for encoder in self._encoders:
            arrays |= feature_arrays(encoder, clips)
        return arrays


def recomputer(store: Store, paths: Mapping[str, str] | None = None) -> Recomputer:
    """A Recomputer for this store, after code, soundfont and weights have been checked against the recipe.

    An added encoder of which nothing is committed is not made.
    paths: of the corpus, soundfont or weights, where they differ from the store's own. Raises NotAsPlanned.
    """
    here = {**store.machine_paths, **(paths or {})}
    check_same_code(store.recipe)
    names = encoders_of(store, [part for part in store.parts if part is None or store.shards_of_layer(part).numbers])
    return Recomputer(store, planned_encoders(store.recipe, here, names), RowMaker(render_config(store, here)))
