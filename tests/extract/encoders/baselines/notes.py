"""Performances from lists of notes and pedal events."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from keybed.extract.music.performance import Performance

Note = tuple[float, float, int, int]


def performance(notes: Sequence[Note], pedal: Sequence[tuple[float, int]] = ()) -> Performance:
    """From (onset_s, offset_s, pitch, velocity) and (time_s, value)."""
    table, events = np.array(notes, np.float64).reshape(-1, 4), np.array(pedal, np.float64).reshape(-1, 2)
    return Performance(
        table[:, 0], table[:, 1], table[:, 2].astype(np.int16), table[:, 3].astype(np.int16),
        events[:, 0], events[:, 1].astype(np.int16),
    )  # fmt: skip


def scale(n: int = 17, gap_s: float = 0.5, length_s: float = 0.5, velocity: int = 70) -> list[Note]:
    """Rising semitones from middle C, each `gap_s` after the one before, from 1 s on."""
    return [(1 + i * gap_s, 1 + i * gap_s + length_s, 60 + i % 12, velocity) for i in range(n)]
