"""Notes and pedal as arrays: what every part of extraction hands to the next.

A `Performance` is a value. Nothing here knows of files, degradation or encoders.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

LOWEST_PITCH, HIGHEST_PITCH = 21, 108
"""The piano's keys as MIDI numbers."""

SUSTAIN_ON = 64
"""FluidSynth and MIDI's convention: the dampers are up at values from here on."""


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
    """Make any notes playable on one keyboard: sorted, in range, no key struck while it is down.

    Of notes that strike one key at one moment the loudest stays; a note that is still held when its key is struck
    again ends there. Pedal events are sorted; of several at one moment the last stays.
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
    when = np.argsort(pedal_s, kind="stable")
    foot_s, foot = pedal_s[when].astype(np.float64), pedal_value[when]
    last = np.ones(foot_s.size, bool)
    last[:-1] = foot_s[1:] > foot_s[:-1]
    return Performance(
        onset_s=on[by_time],
        offset_s=off[by_time],
        pitch=np.clip(key[by_time], LOWEST_PITCH, HIGHEST_PITCH).astype(np.int16),
        velocity=np.clip(vel[by_time], 1, 127).astype(np.int16),
        pedal_s=foot_s[last],
        pedal_value=np.clip(foot[last], 0, 127).astype(np.int16),
    )


def problems(performance: Performance) -> Iterator[str]:
    """Whatever is wrong with these notes, in words; nothing for a performance that one keyboard can play."""
    p = performance
    if p.n_notes and not np.isfinite([p.onset_s, p.offset_s]).all():
        yield "a time is not finite"
    if (p.offset_s <= p.onset_s).any():
        yield "a note ends before it begins"
    if ((p.pitch < LOWEST_PITCH) | (p.pitch > HIGHEST_PITCH)).any():
        yield "a pitch is not on the keyboard"
    if ((p.velocity < 1) | (p.velocity > 127)).any():
        yield "a velocity is outside 1..127"
    if not np.array_equal(np.lexsort((p.pitch, p.onset_s)), np.arange(p.n_notes)):
        yield "the notes are not sorted by (onset, pitch)"
    order = np.lexsort((p.onset_s, p.pitch))
    same = p.pitch[order][1:] == p.pitch[order][:-1]
    if (same & (p.onset_s[order][1:] < p.offset_s[order][:-1])).any():
        yield "a key is struck while it is down"
    if (np.diff(p.pedal_s) <= 0).any():
        yield "the pedal events are not sorted"
    if ((p.pedal_value < 0) | (p.pedal_value > 127)).any():
        yield "a pedal value is outside 0..127"
