"""Articulation: note lengths change at random, which is audible where the pedal is up at the release."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from keybed.extract.degrade.ticks import on_ticks
from keybed.extract.music.pedal import pedal_at
from keybed.extract.music.performance import SUSTAIN_ON, Performance

SHORTEST_S = 0.02
"""No note is shortened below this length in seconds; shorter ones keep their length."""
KEY_RETURN_S = 0.01
"""A lengthened note ends at least this long before its key is struck again; a smaller gap stays as it was."""
NOTE_TO_NOTE_CORRELATION = 0.3
"""Correlation of the log length changes of neighbouring notes (an autoregressive process of order 1)."""
_PASSES = 6


def vary_lengths(
    onset_s: NDArray[np.float64],
    offset_s: NDArray[np.float64],
    pitch: NDArray[np.int16],
    log_sd: float,
    counted: NDArray[np.bool_],
    rng: np.random.Generator,
) -> tuple[NDArray[np.float64], float]:
    """Multiply note lengths by log-normal factors.

    Returns the new offsets (n,) and the realised level: the sd of the log length change over the `counted` notes (n,).
    """
    if log_sd == 0.0 or counted.sum() < 2:
        return offset_s, 0.0
    rho = NOTE_TO_NOTE_CORRELATION
    draw = lfilter([1.0], [1.0, -rho], rng.standard_normal(onset_s.size))
    draw -= draw[counted].mean()
    draw /= draw[counted].std()
    length = offset_s - onset_s
    shortest = np.minimum(length, SHORTEST_S)
    longest = _longest_duration(onset_s, offset_s, pitch)
    scale = log_sd
    for _ in range(_PASSES):
        stretched = on_ticks(length * np.exp(np.clip(scale * draw, -3.0, 3.0)))
        new_length = np.clip(stretched, shortest, longest)
        realised = float(np.log(new_length / length)[counted].std())
        if realised <= 0.0 or abs(realised - log_sd) < 1e-3 * log_sd:
            break
        scale *= log_sd / realised
    return onset_s + new_length, realised


def _longest_duration(
    onset_s: NDArray[np.float64], offset_s: NDArray[np.float64], pitch: NDArray[np.int16]
) -> NDArray[np.float64]:
    """How long each note may last before its key is struck again; never less than its present length."""
    order = np.lexsort((onset_s, pitch))
    until = np.full(onset_s.size, np.inf)
    same = pitch[order][1:] == pitch[order][:-1]
    until[:-1][same] = onset_s[order][1:][same] - KEY_RETURN_S
    end_s = np.empty(onset_s.size)
    end_s[order] = until
    return np.asarray(np.maximum(end_s, offset_s) - onset_s)


def audible_releases(p: Performance, window_s: float) -> NDArray[np.bool_]:
    """Mask (n,) of the notes struck and released inside [0, window_s) with the pedal up at the release."""
    inside = (p.onset_s >= 0) & (p.onset_s < window_s) & (p.offset_s < window_s)
    return np.asarray(inside & (pedal_at(p.pedal_s, p.pedal_value, p.offset_s) < SUSTAIN_ON))
