"""`expressive.event_stats` compiled to machine code by numba when this module is imported. Raises ImportError without numba.

As in `keybed.extract.audio.note_kernel`, the bytes are NumPy's.
"""

from __future__ import annotations

import numba
import numpy as np
from numba import float32, float64, int64, njit, types
from numpy.typing import NDArray

if numba.config.DISABLE_JIT:
    raise ImportError("NUMBA_DISABLE_JIT is set")


@njit(error_model="numpy")
def _add(total: NDArray[np.float64], values: NDArray[np.float64]) -> None:
    for channel in range(total.size):
        total[channel] += values[channel]


@njit(error_model="numpy")
def _add_squared(total: NDArray[np.float64], values: NDArray[np.float64], centre: NDArray[np.float64]) -> None:
    for channel in range(total.size):
        away = values[channel] - centre[channel]
        total[channel] += away * away


@njit(
    types.UniTuple(float32[:, ::1], 2)(float64[:, ::1], float64[::1], int64, float64),
    error_model="numpy",
)
def event_stats(
    values: NDArray[np.float64], time_s: NDArray[np.float64], n_bins: int, window_s: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """See `expressive.event_stats`. values: of two channels at least; NumPy sums one channel in another order."""
    n_channels = values.shape[1]
    # Sums of each bin, then of the whole window.
    count = np.zeros(n_bins + 1, np.int64)
    mean, spread = np.zeros((n_bins + 1, n_channels)), np.zeros((n_bins + 1, n_channels))
    bins = np.empty(time_s.size, np.int64)
    for event in range(time_s.size):
        bins[event] = -1
        if 0 <= time_s[event] < window_s:
            index = int(np.floor(np.rint(time_s[event] / window_s * n_bins * 1e9) / 1e9))
            bins[event] = min(max(index, 0), n_bins - 1)
    for event in range(bins.size):
        _add(mean[n_bins], values[event])
        if bins[event] >= 0:
            count[bins[event]] += 1
            _add(mean[bins[event]], values[event])
    count[n_bins] = bins.size
    for place in range(n_bins + 1):
        for channel in range(n_channels):
            mean[place, channel] /= max(count[place], 1)
    for event in range(bins.size):
        _add_squared(spread[n_bins], values[event], mean[n_bins])
        if bins[event] >= 0:
            _add_squared(spread[bins[event]], values[event], mean[bins[event]])
    means, spreads = np.empty((n_bins + 1, n_channels), np.float32), np.empty((n_bins + 1, n_channels), np.float32)
    for place in range(n_bins + 1):
        for channel in range(n_channels):
            means[place, channel] = mean[place, channel]
            spreads[place, channel] = np.sqrt(spread[place, channel] / max(count[place], 1))
    return means, spreads
