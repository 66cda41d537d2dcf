"""Durations of each row: the share of the window that sounds, and the mean length of its notes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from keybed.extract.music.notes_file import load_notes
from keybed.store.format.rows import Rows
from keybed.store.read.store import Store

SHORTEST_S = 1e-3
DURATION_ENCODERS = ("expressive", "expected")
"""The encoders whose channels hold the durations of every variant."""


def durations(store: Store, rows: Rows) -> NDArray[np.float64]:
    """(row, 2): share of the window in which a key or the pedal is down, mean log2 of the seconds that a key is held.

    With one of DURATION_ENCODERS in the store they are those of every variant. Otherwise they are those of the untouched
    segment, from the store's notes without pedal. Raises MidiError where a notes file is damaged.
    """
    spec = next((e for e in store.recipe.encoders if e.name in DURATION_ENCODERS), None)
    if spec is None:
        return _untouched(store, rows)
    mean = store.read(f"{spec.group}/layers[state=0]", rows.index)[:, 0].astype(np.float64)
    rest, length = (mean[:, spec.channels.index(name)] for name in ("rest", "length_log2"))
    return np.column_stack([1 - rest, length])


def _untouched(store: Store, rows: Rows) -> NDArray[np.float64]:
    window_s = float(store.recipe.segments["window_s"])
    values = np.empty((len(rows), 2))
    for recording in np.unique(rows.recording):
        notes = load_notes(store.notes_path(int(recording)))
        own = np.flatnonzero(rows.recording == recording)
        starts, which = np.unique(rows.start_s[own], return_inverse=True)
        by_start = [of_notes(notes.onset_s - start_s, notes.offset_s - start_s, window_s) for start_s in starts]
        values[own] = np.array(by_start)[which]
    return values


def of_notes(onset_s: NDArray[np.float64], offset_s: NDArray[np.float64], window_s: float) -> tuple[float, float]:
    """The same two numbers for notes in window time, sorted by onset. The mean counts notes whose onset is in the window."""
    last = np.maximum.accumulate(np.clip(offset_s, 0, window_s))
    begins = np.clip(onset_s, 0, window_s)
    sounded_until = np.concatenate([[0.0], last[:-1]])
    sounding = np.clip(last - np.maximum(begins, sounded_until), 0, None).sum()
    in_window = (onset_s >= 0) & (onset_s < window_s)
    length = np.log2(np.maximum((offset_s - onset_s)[in_window], SHORTEST_S))
    return float(sounding / window_s), float(length.mean()) if length.size else float(np.log2(SHORTEST_S))
