"""What several measures of the `expressive` baseline need of each two notes of a row, computed once per row.

Each function keeps its last result, for the next measure of the same row.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from keybed.extract.music.harmony import nearness
from keybed.extract.music.performance import Performance
from keybed.extract.music.voices import next_in_voice


@lru_cache(maxsize=1)
def near_notes(notes: Performance, sigma_s: float) -> NDArray[np.float64]:
    """`nearness` of all notes, float64 (n, n), read-only."""
    near = nearness(notes.onset_s, sigma_s)
    near.flags.writeable = False
    return near


@lru_cache(maxsize=1)
def near_within(notes: Performance, window_s: float, sigma_s: float) -> NDArray[np.float64]:
    """`near_notes` of the notes struck within the window alone, read-only."""
    within = struck_within(notes, window_s)
    near = np.ascontiguousarray(near_notes(notes, sigma_s)[within, within])
    near.flags.writeable = False
    return near


@lru_cache(maxsize=1)
def followers(notes: Performance) -> NDArray[np.intp]:
    """`next_in_voice` of all notes, read-only."""
    following = next_in_voice(notes.onset_s, notes.pitch)
    following.flags.writeable = False
    return following


def followers_within(notes: Performance, window_s: float) -> NDArray[np.intp]:
    """`next_in_voice` of the notes struck within the window alone."""
    within = struck_within(notes, window_s)
    following = followers(notes)[within]
    return np.where((following >= 0) & (following < within.stop), following - within.start, -1)


def struck_within(notes: Performance, window_s: float) -> slice:
    """The notes whose onsets lie in [0, window_s)."""
    begin, end = notes.onset_s.searchsorted((0.0, window_s)).tolist()
    return slice(begin, end)
