"""Features of one view for a selection of rows: in memory where they fit, else streamed from the store.

Both ways give the same batches. Standardisation is part of the heads' training and uses training rows alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.data.durations import durations
from keybed.experiments.data.view import View
from keybed.heads.data import segment_order
from keybed.heads.inputs import HeadInput, from_arrays, tier_weights
from keybed.store.format.rows import Rows
from keybed.store.format.vocabulary import TIER_SHARES
from keybed.store.read.store import Store

Positions = NDArray[np.int64]
STREAM_ROWS = 2048
"""Rows of one contiguous read where features are streamed."""


class Features:
    """The arrays of one view for a selection of rows. Positions index `rows`, not the store."""

    def __init__(self, store: Store, view: View, rows: Rows, *, memory_gib: float = 4.0) -> None:
        self.store, self.view, self.rows = store, view, rows
        self.paths = view.paths(store)
        self.weight = tier_weights(rows.tier, TIER_SHARES)
        n_bytes = sum(
            len(rows) * int(np.prod(store.array(p).shape[1:])) * store.array(p).dtype.itemsize
            for p in self.paths.values()
        )
        self._in_memory: dict[str, np.ndarray] | None = None
        if n_bytes <= memory_gib * 2**30:
            self._in_memory = {path: self._read(path, rows.index) for path in self.paths.values()}

    @property
    def in_memory(self) -> bool:
        """Whether the arrays lie in memory."""
        return self._in_memory is not None

    @cached_property
    def durations(self) -> NDArray[np.float64]:
        """Sounding share and mean note length of each row, (row, 2); see `keybed.experiments.data.durations`."""
        return durations(self.store, self.rows)

    def array(self, name: str, positions: Positions) -> np.ndarray:
        """One argument's array, e.g. "audio_frames", at these positions."""
        path = self.paths[name]
        return (
            self._read(path, self.rows.index[positions])
            if self._in_memory is None
            else self._in_memory[path][positions]
        )

    def _read(self, path: str, index: NDArray[np.int64]) -> np.ndarray:
        values = self.store.read(path, index)
        return self.store.from_int8(path, values).astype(np.float16) if values.dtype == np.int8 else values

    def replaced(self, frames: tuple[np.ndarray, np.ndarray], masks: tuple[np.ndarray, np.ndarray]) -> Features:
        """The same rows with other frames (row, bin, width) and masks (row, bin) of audio and MIDI, held in memory."""
        other = copy(self)
        arrays = dict(zip(("audio_frames", "midi_frames", "audio_mask", "midi_mask"), (*frames, *masks), strict=True))
        other.paths = {name: name for name in arrays}
        other._in_memory = arrays
        return other

    def batch(
        self, positions: Positions, *, audio_from: Positions | None = None, midi_from: Positions | None = None
    ) -> HeadInput:
        """Rows at these positions; a modality's features may come from other rows (the modality swap)."""
        at = {
            "audio": positions if audio_from is None else audio_from,
            "midi": positions if midi_from is None else midi_from,
        }
        arrays = {name: self.array(name, at[name.split("_", maxsplit=1)[0]]) for name in self.paths}
        rows = self.rows
        return from_arrays(
            **arrays,
            score=rows.score[positions],
            valid=rows.valid[positions],
            segment=rows.segment[positions],
            row=rows.index[positions],
            weight=self.weight[positions],
            recording=rows.recording[positions],
            start_s=rows.start_s[positions],
        )

    def batches(
        self,
        positions: Positions,
        batch_rows: int,
        *,
        audio_from: Positions | None = None,
        midi_from: Positions | None = None,
    ) -> Iterator[HeadInput]:
        """All of these positions in their order."""
        for start in range(0, len(positions), batch_rows):
            part = slice(start, start + batch_rows)
            yield self.batch(
                positions[part],
                audio_from=None if audio_from is None else audio_from[part],
                midi_from=None if midi_from is None else midi_from[part],
            )

    def order(self, positions: Positions, rng: np.random.Generator) -> Positions:
        """Shuffle positions, with a segment's variants together; streamed rows are shuffled within a few shards at a time."""
        if self.in_memory:
            return positions[segment_order(self.rows.segment[positions], rng)]
        shard = self.rows.index[positions] // self.store.shard_rows
        parts, waiting, n_waiting = [], [], 0
        for number in rng.permutation(np.unique(shard)):
            waiting.append(positions[shard == number])
            n_waiting += len(waiting[-1])
            if n_waiting >= STREAM_ROWS:
                parts.append(np.concatenate(waiting))
                waiting, n_waiting = [], 0
        if waiting:
            parts.append(np.concatenate(waiting))
        return np.concatenate([part[segment_order(self.rows.segment[part], rng)] for part in parts])


def other_variant(rows: Rows, positions: Positions) -> Positions:
    """For each position another variant of the same segment among `positions` (the next tier round the circle).

    A row whose segment has no other usable variant stands for itself.
    """
    order = np.lexsort((rows.tier[positions], rows.segment[positions]))
    segment = rows.segment[positions][order]
    first = np.searchsorted(segment, segment)
    last = np.searchsorted(segment, segment, side="right") - 1
    here = np.arange(len(order))
    following = np.where(here < last, here + 1, first)
    other = np.empty_like(positions)
    other[order] = positions[order[following]]
    return other
