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

    def block(seconds: NDArray[np.float64]) -> NDArray[np.int64]:
        # Rounded down: on average half a block early, about as long as the soundfont's attack takes to be audible.
        return np.asarray(np.floor((seconds * SAMPLE_RATE_HZ + lead) / BLOCK_SAMPLES), np.int64)

    on = np.maximum(block(p.onset_s), 0)
    off = np.maximum(block(p.offset_s), on + 1)
    moved, _ = crossings(p.pedal_value)
    blocks = np.concatenate([on, off, np.maximum(block(p.pedal_s[moved]), 0)])
    kinds = np.repeat([STRIKE, RELEASE, PEDAL], [on.size, off.size, moved.size])
    keys = np.concatenate([p.pitch, p.pitch, np.zeros(moved.size, np.int16)])
    values = np.concatenate([p.velocity, np.zeros(off.size, np.int16), p.pedal_value[moved]])
    order = np.lexsort((kinds, blocks))
    order = order[blocks[order] < -(-n // BLOCK_SAMPLES)]
    return list(
        map(Event._make, zip(*(column[order].tolist() for column in (blocks, kinds, keys, values)), strict=True))
    )
