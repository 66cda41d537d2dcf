"""Articulation: note lengths change at random, which is audible where the pedal is up at the release."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from keybed.extract.degrade.texture import USUAL_TEXTURE, Texture, drawn_by_note, released_in_time
from keybed.extract.degrade.ticks import TICK_S, on_ticks
from keybed.extract.music.pedal import pedal_at
from keybed.extract.music.performance import SUSTAIN_ON, Performance

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
    texture: Texture = USUAL_TEXTURE,
) -> tuple[NDArray[np.float64], float]:
    """Multiply note lengths by log-normal factors.

    A length below the shortest that the recording has itself is reflected at it (in log length), each note at another one; a
    lengthened note ends before its key is struck again, by a key return of the recording's own.
    Returns the new offsets (n,) and the realised level: the sd of the log length change over the `counted` notes (n,).
    """
    if log_sd == 0.0 or counted.sum() < 2:
        return offset_s, 0.0
    rho = NOTE_TO_NOTE_CORRELATION
    draw = lfilter([1.0], [1.0, -rho], rng.standard_normal(onset_s.size))
    draw -= draw[counted].mean()
    draw /= draw[counted].std()
    length = offset_s - onset_s
    shortest = np.minimum(length, drawn_by_note(texture.shortest_s, onset_s, pitch))
    longest = _longest_duration(onset_s, offset_s, pitch, texture)
    scale = log_sd
    for _ in range(_PASSES):
        stretched = length * np.exp(np.clip(scale * draw, -3.0, 3.0))
        stretched = np.where(stretched < shortest, shortest**2 / stretched, stretched)
        new_length = np.maximum(on_ticks(np.minimum(stretched, longest)), TICK_S)
        realised = float(np.log(new_length / length)[counted].std())
        if realised <= 0.0 or abs(realised - log_sd) < 1e-3 * log_sd:
            break
        scale *= log_sd / realised
    return onset_s + new_length, realised


def _longest_duration(
    onset_s: NDArray[np.float64], offset_s: NDArray[np.float64], pitch: NDArray[np.int16], texture: Texture
) -> NDArray[np.float64]:
    """How long each note may last before its key is struck again; never less than its present length."""
    end_s = released_in_time(onset_s, np.full(onset_s.size, np.inf), pitch, texture)
    return np.asarray(np.maximum(end_s, offset_s) - onset_s)


def audible_releases(p: Performance, window_s: float) -> NDArray[np.bool_]:
    """Mask (n,) of the notes struck and released inside [0, window_s) with the pedal up at the release."""
    inside = (p.onset_s >= 0) & (p.onset_s < window_s) & (p.offset_s < window_s)
    return np.asarray(inside & (pedal_at(p.pedal_s, p.pedal_value, p.offset_s) < SUSTAIN_ON))
