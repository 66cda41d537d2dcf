"""The data of a piano roll on a page: notes with marks, bars of where they would be, and the pedal, in milliseconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.hearing.changes import PLAIN, Bar
from keybed.extract.music.pedal import pedal_at
from keybed.extract.music.performance import SUSTAIN_ON, Performance

PEDAL_STEP = 6
"""Pedal events that change the value by less than this, and do not cross 64, are left out of the drawing."""


def roll_data(
    performance: Performance,
    duration_s: float,
    marks: Mapping[int, int] | None = None,
    bars: Sequence[Bar] = (),
    pedal_before: Performance | None = None,
) -> dict[str, Any]:
    """What `parts.js` draws: {"ms", "notes": [[on, off, pitch, velocity, mark]], "bars": [[on, off, pitch]], "pedal": [[at, value]]}.

    Times are whole milliseconds inside [0, duration_s]; bars and pedalBefore (the pedal without the change) are there where they are given.
    """
    end = round(1000 * duration_s)
    marks = {} if marks is None else marks
    notes = []
    shown = np.flatnonzero((performance.offset_s > 0) & (performance.onset_s < duration_s))
    for i in shown.tolist():
        on, off = _ms(performance.onset_s[i], end), _ms(performance.offset_s[i], end)
        notes.append([on, off, int(performance.pitch[i]), int(performance.velocity[i]), marks.get(i, PLAIN)])
    data: dict[str, Any] = {"ms": end, "notes": notes, "pedal": pedal_steps(performance, duration_s)}
    placed = [[_ms(on, end), _ms(off, end), pitch] for on, off, pitch in bars if off > 0 and on < duration_s]
    if placed:
        data["bars"] = placed
    if pedal_before is not None:
        data["pedalBefore"] = pedal_steps(pedal_before, duration_s)
    return data


def pedal_steps(performance: Performance, duration_s: float) -> list[list[int]]:
    """[[ms, value]] of the pedal from 0 to the end, without steps too small to see."""
    times, values = performance.pedal_s, performance.pedal_value
    inside = (times > 0) & (times < duration_s)
    steps = [[0, int(pedal_at(times, values, np.array([0.0]))[0])]]
    for time_s, value in zip(times[inside].tolist(), values[inside].tolist(), strict=True):
        last = steps[-1][1]
        if abs(value - last) >= PEDAL_STEP or (value >= SUSTAIN_ON) != (last >= SUSTAIN_ON):
            steps.append([round(1000 * time_s), int(value)])
    return steps


def pitch_range(pitch: NDArray[np.int16], least: int = 24) -> tuple[int, int]:
    """Lowest and highest pitch to draw: those played and two more on each side, at least `least` semitones apart."""
    if pitch.size == 0:
        return 48, 72
    low, high = int(pitch.min()) - 2, int(pitch.max()) + 2
    wider = max(0, least - (high - low))
    return max(low - wider // 2, 21), min(high + (wider + 1) // 2, 108)


def _ms(seconds: float, end: int) -> int:
    return min(max(round(1000 * float(seconds)), 0), end)
