"""A performance as events on FluidSynth's grid of 64-sample blocks; both renderers play them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from keybed.extract.audio.fluidsynth import BLOCK_SAMPLES
from keybed.extract.audio.waveform import SAMPLE_RATE_HZ
from keybed.extract.degrade.excerpt import PRE_ROLL_S
from keybed.extract.music.pedal import crossings
from keybed.extract.music.performance import Performance

RELEASE, PEDAL, STRIKE = range(3)


class Event(NamedTuple):
    """block: from the start of the pre-roll. kind: RELEASE, PEDAL or STRIKE. value: velocity, or the pedal's value."""

    block: int
    kind: int
    key: int
    value: int


def lead_and_length(window_s: float) -> tuple[int, int]:
    """Samples before the window, and samples in all."""
    lead = round(PRE_ROLL_S * SAMPLE_RATE_HZ / BLOCK_SAMPLES) * BLOCK_SAMPLES
    return lead, lead + round(window_s * SAMPLE_RATE_HZ)


def events_of(p: Performance, lead: int, n: int) -> list[Event]:
    """The events of the first n samples in playing order; within one block releases, then the pedal, then strikes.

    A note has at least one block between strike and release. A note older than the pre-roll is struck at its start,
    and released at once where only the pedal still holds it.
    """
    return list(map(Event._make, event_table(p, lead, n).tolist()))


def event_table(p: Performance, lead: int, n: int) -> NDArray[np.int64]:
    """`events_of` as int64 (events, 4), a column per field."""

    def block(seconds: NDArray[np.float64]) -> NDArray[np.int64]:
        # Rounded down: on average half a block early, about as long as the soundfont's attack takes to be audible.
        return np.floor((seconds * SAMPLE_RATE_HZ + lead) / BLOCK_SAMPLES).astype(np.int64)

    moved, _ = crossings(p.pedal_value)
    n_notes, n_moved = p.n_notes, moved.size
    events = np.zeros((4, 2 * n_notes + n_moved), np.int64)
    blocks, kinds, keys, values = events
    on, off, pedal = slice(n_notes), slice(n_notes, 2 * n_notes), slice(2 * n_notes, None)
    np.maximum(block(p.onset_s), 0, out=blocks[on])
    np.maximum(block(p.offset_s), blocks[on] + 1, out=blocks[off])
    np.maximum(block(p.pedal_s[moved]), 0, out=blocks[pedal])
    kinds[on], kinds[off], kinds[pedal] = STRIKE, RELEASE, PEDAL
    keys[on] = keys[off] = p.pitch
    values[on], values[pedal] = p.velocity, p.pedal_value[moved]
    order = np.lexsort((kinds, blocks))
    order = order[blocks[order] < -(-n // BLOCK_SAMPLES)]
    return np.ascontiguousarray(events.T[order])
