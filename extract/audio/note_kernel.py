"""The loops of `note_sum`, compiled to machine code by numba when this module is imported. Raises ImportError without numba.

The code has neither fast-math nor fused multiply-adds, so it gives the bytes that NumPy gives. Nothing is kept on the disk:
compiling takes 1.2 s, and the server that renderers are forked from does it once for all of them.
"""

from __future__ import annotations

import numba
import numpy as np
from numba import float32, float64, int64, njit, types
from numpy.typing import NDArray

from keybed.extract.audio.events import PEDAL, RELEASE
from keybed.extract.audio.fluidsynth import BLOCK_SAMPLES
from keybed.extract.audio.note_bank import MIN_NOTE_BLOCKS
from keybed.extract.music.performance import SUSTAIN_ON

if numba.config.DISABLE_JIT:
    raise ImportError("NUMBA_DISABLE_JIT is set")
_READ_ONLY = types.Array(float32, 1, "C", readonly=True)
_WITHIN_BLOCK = (np.arange(1, BLOCK_SAMPLES + 1) / BLOCK_SAMPLES).astype(np.float32)


@njit(int64[:, ::1](int64[:, ::1]))
def voice_table(events: NDArray[np.int64]) -> NDArray[np.int64]:
    """See `note_sum.voice_table`."""
    struck, n_struck = np.empty((len(events), 4), np.int64), 0
    sustained, n_sustained = np.empty(len(events), np.int64), 0
    held, down = np.full(128, -1), False
    for event in range(len(events)):
        block, kind, key, value = events[event]
        if kind == PEDAL:
            down = value >= SUSTAIN_ON
            if not down:
                for number in sustained[:n_sustained]:
                    struck[number, 3] = max(block, struck[number, 2] + MIN_NOTE_BLOCKS)
                n_sustained = 0
            continue
        let_go, held[key] = held[key], -1
        if let_go >= 0 and down:
            sustained[n_sustained] = let_go
            n_sustained += 1
        elif let_go >= 0:
            struck[let_go, 3] = max(block, struck[let_go, 2] + MIN_NOTE_BLOCKS)
        if kind != RELEASE:
            held[key] = n_struck
            struck[n_struck, 0], struck[n_struck, 1] = key, value
            struck[n_struck, 2], struck[n_struck, 3] = block, -1
            n_struck += 1
    return struck[:n_struck]


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
