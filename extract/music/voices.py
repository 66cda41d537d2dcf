"""The next note of the same voice, told from pitch and time alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from keybed.extract.music.chords import CHORD_GAP_S

VOICE_SEMITONES = 4
"""A voice is taken to move by at most this many semitones (a major third) from note to note."""
LONGEST_REST_S = 4.0
"""A note that begins later than this many seconds is not the next one of a voice."""


def next_in_voice(
    onset_s: NDArray[np.float64], pitch: NDArray[np.int16], semitones: int = VOICE_SEMITONES
) -> NDArray[np.intp]:
    """Index of each note's successor, (n,), −1 where it has none; onset_s is sorted.

    The successor is the first note that begins more than a chord's gap later and at most `semitones` away.
    """
    if onset_s.size == 0:
        return np.zeros(0, np.intp)
    keys = pitch.astype(np.int16)
    later = onset_s[None, :] - onset_s[:, None]
    fits = (later > CHORD_GAP_S) & (later < LONGEST_REST_S) & (np.abs(keys[None, :] - keys[:, None]) <= semitones)
    first = fits.argmax(axis=1)
    return np.where(fits[np.arange(first.size), first], first, -1)
