"""The numbers of derived views from those of their source: PCA components, int8, pooled states. Pure functions of arrays.

`keybed derive` applies them to the rows of a store, and scoring to the windows of a recording, so that both give equal features.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from keybed.store.read.derived import int8_numbers

__all__ = ["int8_numbers", "mean_of_states", "project", "standardised", "to_int8"]


def standardised(
    values: NDArray[np.float32], mean: NDArray[np.float32], std: NDArray[np.float32]
) -> NDArray[np.float32]:
    """(values − mean) / std, computed in place."""
    values -= mean
    values /= std
    return values


def project(
    values: NDArray[np.float32], mean: NDArray[np.float32], std: NDArray[np.float32], vectors: NDArray[np.float32]
) -> NDArray[np.float16]:
    """Components (n, k) of n observations, standardised in place. mean, std: as one observation; vectors: (k, dimensions)."""
    flat = standardised(values, mean, std).reshape(len(values), -1)
    return (flat @ vectors.T).astype(np.float16)


def to_int8(values: NDArray[np.float32], offset: NDArray[np.float32], scale: NDArray[np.float32]) -> NDArray[np.int8]:
    """round((x − offset) / scale) clipped to ±127."""
    return np.clip(np.rint((values - offset) / scale), -127, 127).astype(np.int8)


def mean_of_states(states: Iterable[NDArray[np.floating]]) -> NDArray[np.float16]:
    """Mean over an encoder's states, each (row, stat, channel)."""
    total: NDArray[np.float32] | float = 0.0
    n = 0
    for state in states:
        total, n = total + state.astype(np.float32), n + 1
    return np.asarray(total / n, np.float16)
