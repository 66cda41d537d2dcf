"""Articulation: note lengths that vary without meaning, heard where the pedal does not cover the release."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from keybed.extract.degrade.pedal import value_at
from keybed.extract.degrade.ticks import on_ticks
from keybed.extract.music.performance import SUSTAIN_ON, Performance

SHORTEST_S = 0.02
"""No note is made shorter than this, unless it was."""
KEY_RETURN_S = 0.01
"""A lengthened note leaves the key this long before it is struck again (or as long as it did before)."""
NOTE_TO_NOTE_CORRELATION = 0.3
"""Of one note's log length change with the next one's."""
_PASSES = 6


def vary_lengths(
    onset_s: NDArray[np.float64],
    offset_s: NDArray[np.float64],
    pitch: NDArray[np.int16],
    log_sd: float,
    judged: NDArray[np.bool_],
    rng: np.random.Generator,
) -> tuple[NDArray[np.float64], float]:
    """Multiply lengths by a log-normal factor; return offsets and the sd of log length change over `judged` notes."""
    if log_sd == 0.0 or judged.sum() < 2:
        return offset_s, 0.0
    rho = NOTE_TO_NOTE_CORRELATION
    wish = lfilter([1.0], [1.0, -rho], rng.standard_normal(onset_s.size))
    wish -= wish[judged].mean()
    wish /= wish[judged].std()
    length = offset_s - onset_s
    shortest = np.minimum(length, SHORTEST_S)
    longest = _room(onset_s, offset_s, pitch)
    scale = log_sd
    for _ in range(_PASSES):
        stretched = on_ticks(length * np.exp(np.clip(scale * wish, -3.0, 3.0)))
        new_length = np.clip(stretched, shortest, longest)
        realised = float(np.log(new_length / length)[judged].std())
        if realised <= 0.0 or abs(realised - log_sd) < 1e-3 * log_sd:
            break
        scale *= log_sd / realised
    return onset_s + new_length, realised


def _room(onset_s: NDArray[np.float64], offset_s: NDArray[np.float64], pitch: NDArray[np.int16]) -> NDArray[np.float64]:
    """How long each note may last before its key is struck again; never less than it lasts."""
    order = np.lexsort((onset_s, pitch))
    until = np.full(onset_s.size, np.inf)
    same = pitch[order][1:] == pitch[order][:-1]
    until[:-1][same] = onset_s[order][1:][same] - KEY_RETURN_S
    room = np.empty(onset_s.size)
    room[order] = until
    return np.asarray(np.maximum(room, offset_s) - onset_s)


def audible_releases(p: Performance, window_s: float) -> NDArray[np.bool_]:
    """Which notes (n,) were struck and released inside the window with the pedal up at the release."""
    inside = (p.onset_s >= 0) & (p.onset_s < window_s) & (p.offset_s < window_s)
    return np.asarray(inside & (value_at(p.pedal_s, p.pedal_value, p.offset_s) < SUSTAIN_ON))
