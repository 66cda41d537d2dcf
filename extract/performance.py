"""Notes and pedal as arrays: what every part of extraction hands to the next.

A `Performance` is a value. Nothing here knows of files, degradation or encoders.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

LOWEST_PITCH, HIGHEST_PITCH = 21, 108
"""The piano's keys as MIDI numbers."""

SUSTAIN_ON = 64
"""FluidSynth and MIDI's convention: the dampers are up at values from here on."""


def _empty(dtype: type) -> NDArray:  # type: ignore[type-arg]
    return np.zeros(0, dtype)


@dataclass(frozen=True, eq=False)
class Performance:
    """Piano notes and sustain-pedal events, times in seconds.

    onset_s, offset_s: float64 (n,), sorted by (onset, pitch), offset > onset. pitch: int16 (n,) in 21..108.
    velocity: int16 (n,) in 1..127. pedal_s: float64 (p,), sorted; pedal_value: int16 (p,) in 0..127.
    In a window's own time, 0 is where the window begins: a note struck before it has a negative onset.
    """

    onset_s: NDArray[np.float64]
    offset_s: NDArray[np.float64]
    pitch: NDArray[np.int16]
    velocity: NDArray[np.int16]
    pedal_s: NDArray[np.float64] = field(default_factory=lambda: _empty(np.float64))
    pedal_value: NDArray[np.int16] = field(default_factory=lambda: _empty(np.int16))

    def __post_init__(self) -> None:
        n = self.onset_s.shape
        if not n == self.offset_s.shape == self.pitch.shape == self.velocity.shape or len(n) != 1:
            raise ValueError("onset_s, offset_s, pitch and velocity must be vectors of one length")
        if self.pedal_s.shape != self.pedal_value.shape:
            raise ValueError("pedal_s and pedal_value must have one length")

    @property
    def n_notes(self) -> int:
        """Number of notes."""
        return int(self.onset_s.size)
