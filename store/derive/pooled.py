"""The pooled view: one vector per row and statistic, the mean over an encoder's chosen states of its `layers`.

It has the mean and standard deviation over time of the states that `frames` averages, in a tenth of the bytes or less, and
serves questions that do not depend on time.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from keybed.store.derive.derivations import Derivation
from keybed.store.derive.shard_frames import opened, write_rows
from keybed.store.derive.view_values import mean_of_states
from keybed.store.format.array_specs import ArraySpec
from keybed.store.format.vocabulary import Status


def pooled_step(work: Derivation) -> tuple[list[str], Callable[[], None]]:
    """(paths, the function that makes them), like `Derivation.steps`. work: the derivation of the encoder's `layers`."""

    def make() -> None:
        n_stats, _, width = work.inner
        spec = work.rows_spec("_pooled", (n_stats, width), ("stat", "channel"), "float16", float("nan"))
        with work.staged() as folder:
            work.make_empty(folder, spec)
            work.each_shard("pooling", folder, spec, _write, work.encoder.frame_states)

    return [f"{work.base}_pooled"], make


def _write(
    path: str, content: str, array: str, shard: int, states: tuple[int, ...], spec: ArraySpec, folder: str
) -> str:
    """Mean over the states as float16; NaN in failed rows. Returns the chunks' checksums."""
    store = opened(path, content)
    rows = np.arange(*store.shard_range(shard))
    mean = mean_of_states(store.read(f"{array}[state={state}]", rows) for state in states)  # each is a chunk of its own
    mean[store.read("row/status", rows) != Status.OK] = np.nan
    return write_rows(spec, shard, mean, path, content, folder)
