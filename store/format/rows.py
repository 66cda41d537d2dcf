"""A selection of rows with their columns, without features."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from keybed.store.counted import counted


@dataclass(frozen=True, eq=False)
class Rows:
    """Arrays of equal length, one entry per row; a second axis is `LEVELS`, `DIMENSIONS`, … of `keybed.store.format.vocabulary`.

    index: the row's number in the store, which `Store.read` takes. score and level may be NaN where valid is false.
    """

    index: NDArray[np.int64]
    recording: NDArray[np.int32]
    segment: NDArray[np.int32]
    piece: NDArray[np.int32]
    split: NDArray[np.uint8]
    tier: NDArray[np.uint8]
    start_s: NDArray[np.float64]
    level_drawn: NDArray[np.float32]
    status: NDArray[np.uint8]
    n_notes: NDArray[np.int32]
    score: NDArray[np.float32]
    valid: NDArray[np.bool_]
    level: NDArray[np.float32]
    difficulty: NDArray[np.float32]
    waveform: NDArray[np.float32]

    def __post_init__(self) -> None:
        lengths = {f.name: len(getattr(self, f.name)) for f in fields(self)}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"columns of different lengths: {lengths}")

    def __len__(self) -> int:
        return len(self.index)

    def take(self, chosen: ArrayLike) -> Rows:
        """The rows where a boolean mask is true, or the rows at the given positions (in that order, repeats allowed)."""
        chosen = np.asarray(chosen)
        if chosen.dtype == bool and len(chosen) != len(self):
            raise ValueError(f"a mask of {len(chosen)} for {counted(len(self), 'row')}")
        if not chosen.size:
            chosen = chosen.astype(np.int64)
        columns: dict[str, Any] = {f.name: getattr(self, f.name)[chosen] for f in fields(self)}
        return Rows(**columns)
