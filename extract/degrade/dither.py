"""Dither: every time of every row, pristine ones too, moves by about a tick of a MIDI file, so that no row keeps a file's ticks.

The four variants of a segment are dithered alike, before they are degraded.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from keybed.extract.degrade.texture import Texture, released_in_time
from keybed.extract.degrade.ticks import TICK_S, on_ticks
from keybed.extract.music.performance import Performance

DITHER_S = 0.0013
"""sd in seconds of the dither of each onset, length and pedal event: a tick at 768 Hz, MAESTRO's coarser clock."""
VELOCITY_DITHER = 1.0
"""Largest change of each velocity by the dither, in steps, drawn evenly and rounded."""
LARGEST_DITHER = 3.5
"""Larger draws, in sd, are limited to this."""
SHORTEST_S = 0.0004
"""A length that would fall below this, in seconds, is reflected at it."""
LEAST_PEDAL_STEP_S = 2 * TICK_S
"""Two pedal events stay at least this far apart."""


def dithered(
    p: Performance, texture: Texture, rng: np.random.Generator, *, window_s: float, fixed_pedal: int
) -> tuple[Performance, NDArray[np.intp]]:
    """The notes and pedal with other fractions of a tick, and the order (n,) in which the old notes stand now.

    No note is lost, and none crosses an edge of the window. The first `fixed_pedal` pedal events keep their time.
    """
    z = np.clip(rng.standard_normal((2, p.n_notes)), -LARGEST_DITHER, LARGEST_DITHER)
    onset_s = on_ticks(p.onset_s + DITHER_S * z[0])
    crossed = _place(onset_s, window_s) != _place(p.onset_s, window_s)
    onset_s = np.where(crossed, on_ticks(p.onset_s - DITHER_S * z[0]), onset_s)
    # A note on the edge itself may be rounded across it.
    onset_s = np.where(_place(onset_s, window_s) != _place(p.onset_s, window_s), p.onset_s, onset_s)
    length = on_ticks(SHORTEST_S + np.abs(p.offset_s - p.onset_s + DITHER_S * z[1] - SHORTEST_S))
    order = np.lexsort((p.pitch, onset_s))
    onset_s, pitch = onset_s[order], p.pitch[order]
    by_key = np.lexsort((onset_s, pitch))
    tied = (pitch[by_key][1:] == pitch[by_key][:-1]) & (np.diff(onset_s[by_key]) < 4 * SHORTEST_S)
    if tied.any():  # two strokes of one key that the dither would swap: none of the notes is moved
        onset_s, length = p.onset_s.copy(), on_ticks(p.offset_s - p.onset_s)
        order, pitch = np.arange(p.n_notes), p.pitch
    offset_s = released_in_time(onset_s, onset_s + length[order], pitch, texture)
    pedal_s = p.pedal_s.copy()
    free = p.pedal_s.size - fixed_pedal
    noise = DITHER_S * np.clip(rng.standard_normal(free), -LARGEST_DITHER, LARGEST_DITHER)
    pedal_s[fixed_pedal:] = on_ticks(pedal_s[fixed_pedal:] + noise)
    steps = np.round(rng.uniform(-VELOCITY_DITHER, VELOCITY_DITHER, p.n_notes))
    velocity = np.clip(p.velocity[order] + steps, 1, 127).astype(np.int16)
    return Performance(onset_s, offset_s, pitch, velocity, in_order(pedal_s), p.pedal_value), order


def _place(onset_s: NDArray[np.float64], window_s: float) -> NDArray[np.int64]:
    """0 before the window, 1 inside, 2 after it."""
    return np.searchsorted(np.array([0.0, window_s]), onset_s, side="right")


def in_order(pedal_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Times that rise from each event to the next, by LEAST_PEDAL_STEP_S at least."""
    steps = LEAST_PEDAL_STEP_S * np.arange(pedal_s.size)
    return np.asarray(np.maximum.accumulate(pedal_s - steps) + steps)
