"""What makes a performance impossible on one keyboard; tests ask it of every result."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from keybed.extract.music.performance import HIGHEST_PITCH, LOWEST_PITCH, Performance


def problems(performance: Performance) -> Iterator[str]:
    """Each rule that these notes break, in words."""
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
