"""Sustain pedal: its value at any time, and where it crosses 64 (down) in either direction."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from keybed.extract.music.performance import SUSTAIN_ON

SUSTAIN_CONTROL = 64
"""MIDI's control number of the sustain pedal."""


def pedal_at(
    pedal_s: NDArray[np.float64], pedal_value: NDArray[np.int16], when_s: NDArray[np.float64]
) -> NDArray[np.int16]:
    """The pedal value, int16, in force at each time; 0 before the first event. An event counts from its own time on."""
    values = np.concatenate([np.zeros(1, np.int16), pedal_value])
    return np.asarray(values[np.searchsorted(pedal_s, when_s, side="right")])


def crossings(pedal_value: NDArray[np.int16]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Indices of the events at which the pedal crosses SUSTAIN_ON, and whether each is a press (else a lift).

    The pedal is up before its first event.
    """
    down = np.concatenate([[False], pedal_value >= SUSTAIN_ON])
    index = np.flatnonzero(down[1:] != down[:-1])
    return index, down[1:][index]


def press_times(pedal_s: NDArray[np.float64], pedal_value: NDArray[np.int16]) -> NDArray[np.float64]:
    """Times in seconds at which the pedal goes down."""
    index, press = crossings(pedal_value)
    return pedal_s[index[press]]


def lift_times(pedal_s: NDArray[np.float64], pedal_value: NDArray[np.int16]) -> NDArray[np.float64]:
    """Times in seconds at which the pedal comes up."""
    index, press = crossings(pedal_value)
    return pedal_s[index[~press]]
