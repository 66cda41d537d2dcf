"""`note_sum.add_notes` compiled to machine code, by numba, when this module is imported. Raises ImportError without numba.

The code has neither fast-math nor fused multiply-adds, so it gives the bytes that NumPy gives. Nothing is kept on the disk:
compiling takes 0.6 s, and the server that renderers are forked from does it once for all of them.
"""

from __future__ import annotations

import numba
import numpy as np
from numba import float32, float64, int64, njit, types
from numpy.typing import NDArray

from keybed.extract.audio.fluidsynth import BLOCK_SAMPLES

if numba.config.DISABLE_JIT:
    raise ImportError("NUMBA_DISABLE_JIT is set")
_READ_ONLY = types.Array(float32, 1, "C", readonly=True)
_WITHIN_BLOCK = (np.arange(1, BLOCK_SAMPLES + 1) / BLOCK_SAMPLES).astype(np.float32)


@njit(error_model="numpy")
def _add_held(total: NDArray[np.float32], sound: NDArray[np.float32], level: np.float32) -> None:
    for i in range(total.size):
        total[i] += level * sound[i]


@njit(error_model="numpy")
def _add_ramp(total: NDArray[np.float32], sound: NDArray[np.float32], level: np.float32, step: np.float32) -> None:
    for i in range(BLOCK_SAMPLES):
        total[i] += (step * _WITHIN_BLOCK[i] + level) * sound[i]


@njit(types.void(float32[::1], _READ_ONLY, float64[:, ::1], int64[:, ::1], float64[:, ::1]), error_model="numpy")
def add_notes(
    total: NDArray[np.float32],
    samples: NDArray[np.float32],
    falls: NDArray[np.float64],
    places: NDArray[np.int64],
    gains: NDArray[np.float64],
) -> None:
    """See `note_sum.add_notes`."""
    for note in range(len(places)):
        number, first, begin, held, end, into = places[note]
        gain, release_gain = gains[note]
        level = np.float32(gain)
        even = max(held - begin, 0) * BLOCK_SAMPLES
        at = first + begin * BLOCK_SAMPLES
        _add_held(total[into : into + even], samples[at : at + even], level)
        fallen, fall = 1.0, falls[number]
        for block in range(held, end):
            fallen *= fall[block]
            after = np.float32(fallen * release_gain)
            if block >= begin:
                at, to = first + block * BLOCK_SAMPLES, into + (block - begin) * BLOCK_SAMPLES
                sound = samples[at : at + BLOCK_SAMPLES]
                _add_ramp(total[to : to + BLOCK_SAMPLES], sound, level, after - level)
            level = after
