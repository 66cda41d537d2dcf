"""Notes and sustain pedal as arrays: the data type that every stage of extraction takes and returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

LOWEST_PITCH, HIGHEST_PITCH = 21, 108
"""The piano's keys as MIDI numbers."""

SUSTAIN_ON = 64
"""The pedal is down (dampers up) at values from here on, as in the MIDI standard and FluidSynth."""


@dataclass(frozen=True, eq=False)
class Performance:
    """Piano notes and sustain-pedal events, times in seconds.

    onset_s, offset_s: float64 (n,), sorted by (onset, pitch), offset > onset. pitch: int16 (n,) in 21..108.
    velocity: int16 (n,) in 1..127. pedal_s: float64 (p,), sorted; pedal_value: int16 (p,) in 0..127.
    In window time 0 is the start of the window, and earlier notes have negative onsets. ValueError on unequal lengths.
    """

    onset_s: NDArray[np.float64]
    offset_s: NDArray[np.float64]
    pitch: NDArray[np.int16]
    velocity: NDArray[np.int16]
    pedal_s: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    pedal_value: NDArray[np.int16] = field(default_factory=lambda: np.zeros(0, np.int16))

    def __post_init__(self) -> None:
        n = self.onset_s.shape
        if not n == self.offset_s.shape == self.pitch.shape == self.velocity.shape or len(n) != 1:
            raise ValueError("onset_s, offset_s, pitch and velocity must be vectors of one length")
        if self.pedal_s.shape != self.pedal_value.shape:
            raise ValueError("pedal_s and pedal_value must have one length")

    @classmethod
    def empty(cls) -> Performance:
        """No notes and no pedal."""
        return cls(np.zeros(0), np.zeros(0), np.zeros(0, np.int16), np.zeros(0, np.int16))

    @property
    def n_notes(self) -> int:
        """Number of notes."""
        return int(self.onset_s.size)


def playable(
    onset_s: NDArray[Any],
    offset_s: NDArray[Any],
    pitch: NDArray[Any],
    velocity: NDArray[Any],
    pedal_s: NDArray[Any],
    pedal_value: NDArray[Any],
) -> Performance:
    """A performance that one keyboard can play: sorted, in range, no key struck while it is down.

    Notes without length are left out. Of notes with equal key and onset the loudest stays. A note held when its key is
    struck again ends there. Pedal events are sorted; of several at one time the last stays.
    """
    keep = offset_s > onset_s
    order = np.lexsort((-velocity[keep], onset_s[keep], pitch[keep]))
    on, off = onset_s[keep][order].astype(np.float64), offset_s[keep][order].astype(np.float64)
    key, vel = pitch[keep][order], velocity[keep][order]
    first = np.ones(on.size, bool)
    first[1:] = (key[1:] != key[:-1]) | (on[1:] > on[:-1])
    on, off, key, vel = on[first], off[first], key[first], vel[first]
    same = key[1:] == key[:-1]
    off[:-1] = np.where(same, np.minimum(off[:-1], on[1:]), off[:-1])
    by_time = np.lexsort((key, on))
    pedal_order = np.argsort(pedal_s, kind="stable")
    sorted_s, sorted_value = pedal_s[pedal_order].astype(np.float64), pedal_value[pedal_order]
    last = np.ones(sorted_s.size, bool)
    last[:-1] = sorted_s[1:] > sorted_s[:-1]
    return Performance(
        onset_s=on[by_time],
        offset_s=off[by_time],
        pitch=np.clip(key[by_time], LOWEST_PITCH, HIGHEST_PITCH).astype(np.int16),
        velocity=np.clip(vel[by_time], 1, 127).astype(np.int16),
        pedal_s=sorted_s[last],
        pedal_value=np.clip(sorted_value[last], 0, 127).astype(np.int16),
    )
