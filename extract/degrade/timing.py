"""Timing: correlated random onset shifts, one per chord, larger after longer inter-onset intervals; chords stay as ragged as they are."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from keybed.extract.degrade.dither import DITHER_S
from keybed.extract.degrade.texture import USUAL_TEXTURE, Texture, drawn_by_note
from keybed.extract.degrade.ticks import TICK_S, on_ticks
from keybed.extract.music.chords import CHORD_GAP_S, chord_numbers, chord_starts

NOTE_TO_NOTE_CORRELATION = 0.5
"""Correlation of the shifts of neighbouring chords (an autoregressive process of order 1)."""
LAGS_REDRAWN_AT_MS = 60.0
"""At this sd all chords get other lags between their notes, drawn from the recording's own chords; at smaller ones fewer do."""
INTERVAL_EXPONENT = 0.5
"""The sd of a shift is multiplied by (inter-onset interval / INTERVAL_REFERENCE_S) to this exponent."""
INTERVAL_REFERENCE_S = 0.25
"""Inter-onset interval in seconds at which that factor is 1."""
INTERVAL_FACTORS = (0.5, 2.0)
"""Smallest and largest factor."""
_PASSES = 6


def jitter(
    onset_s: NDArray[np.float64],
    offset_s: NDArray[np.float64],
    pitch: NDArray[np.int16],
    sd_ms: float,
    window_s: float,
    rng: np.random.Generator,
    texture: Texture = USUAL_TEXTURE,
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Shift whole notes by random times; note lengths stay.

    Returns onsets (n,), offsets (n,) and the realised level: the sd in ms of the shifts of the notes in [0, window_s).
    No note crosses an edge of the window. A key comes no closer to its next stroke than the recording's own key returns; where
    it is closer already it stays as close.
    """
    counted = (onset_s >= 0) & (onset_s < window_s)
    if sd_ms == 0.0 or counted.sum() < 2:
        return onset_s, offset_s, 0.0
    draw, chord = _chord_shifts(onset_s, rng)
    draw -= draw[counted].mean()
    draw /= draw[counted].std() or 1.0
    target_s = sd_ms / 1000.0
    own = _other_lags(onset_s, chord, min(sd_ms / LAGS_REDRAWN_AT_MS, 1.0), texture, rng)
    strokes = _Strokes.of(onset_s, offset_s, pitch, texture)
    scale = target_s
    for _ in range(_PASSES):
        shift = _constrain(draw * scale + own, onset_s, strokes, window_s)
        realised = float(shift[counted].std())
        if realised <= 0.0 or abs(realised - target_s) < 1e-3 * target_s:
            break
        scale *= target_s / realised
    return onset_s + shift, offset_s + shift, 1000.0 * realised


def _chord_shifts(
    onset_s: NDArray[np.float64], rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Shifts (n,) in arbitrary units, one per chord, and the number of each note's chord (n,)."""
    from scipy.signal import lfilter

    starts = chord_starts(onset_s, max_gap_s=CHORD_GAP_S)
    chord = chord_numbers(starts)
    chord_s = onset_s[starts]
    interval = np.diff(chord_s, prepend=chord_s[0] - INTERVAL_REFERENCE_S)
    growth = np.clip((interval / INTERVAL_REFERENCE_S) ** INTERVAL_EXPONENT, *INTERVAL_FACTORS)
    rho = NOTE_TO_NOTE_CORRELATION
    fresh = rng.standard_normal(chord_s.size) * np.sqrt(1 - rho**2)
    common = lfilter([1.0], [1.0, -rho], fresh) * growth
    return np.asarray(common[chord]), chord


def _other_lags(
    onset_s: NDArray[np.float64],
    chord: NDArray[np.int64],
    share: float,
    texture: Texture,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Shifts (n,) that give a share of the chords lags of the recording's other chords. The order of a chord's notes stays.

    Players strike a chord in an order of their own, often the melody first; notes in a random order would show the program.
    """
    n = onset_s.size
    pool = texture.pairs[:, 0]
    gap = np.abs(pool[rng.integers(pool.size, size=n)] + np.sqrt(2.0) * DITHER_S * rng.standard_normal(n))
    order = np.lexsort((rng.random(n), onset_s, chord))
    redrawn = rng.random(n)[chord] < share
    lag = np.empty(n)
    lag[order] = np.cumsum(gap)
    lag -= _mean_by(chord, lag)
    alone = np.bincount(chord)[chord] == 1
    return np.where(redrawn & ~alone, _mean_by(chord, onset_s) + lag - onset_s, 0.0)


def _mean_by(chord: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray((np.bincount(chord, values) / np.bincount(chord))[chord])


def _constrain(
    shift: NDArray[np.float64], onset_s: NDArray[np.float64], strokes: _Strokes, window_s: float
) -> NDArray[np.float64]:
    """Reverse shifts that would cross an edge of the window; limit those that would bring two strokes of one key together."""
    from scipy.optimize import isotonic_regression

    before, after = onset_s < 0, onset_s >= window_s
    low = np.where(before, -np.inf, np.where(after, window_s, 0.0)) - onset_s
    last = window_s - TICK_S
    high = np.where(before, -TICK_S, np.where(after, np.inf, last)) - onset_s
    shift = np.where((shift < low) | (shift > high), -shift, shift)
    shift = np.clip(shift, low, high)
    # With the slack so far added, shifts that keep the strokes apart never fall: the nearest such are a monotone fit.
    moved_KxS = shift[strokes.note_KxS] + strokes.slack_KxS
    for key in np.flatnonzero((moved_KxS[:, 1:] < moved_KxS[:, :-1]).any(axis=1)):
        of_key = slice(strokes.count_K[key])
        fitted = isotonic_regression(moved_KxS[key, of_key]).x
        shift[strokes.note_KxS[key, of_key]] = fitted - strokes.slack_KxS[key, of_key]
    return np.asarray(np.clip(on_ticks(shift), low, high))


class _Strokes(NamedTuple):
    """Of each of the K keys struck more than once: its notes in order, the summed slack in seconds before each, and their number.

    Rows are filled up with the key's last note.
    """

    note_KxS: NDArray[np.intp]
    slack_KxS: NDArray[np.float64]
    count_K: NDArray[np.intp]

    @classmethod
    def of(
        cls,
        onset_s: NDArray[np.float64],
        offset_s: NDArray[np.float64],
        pitch: NDArray[np.int16],
        texture: Texture,
    ) -> _Strokes:
        order = np.lexsort((onset_s, pitch))
        key = pitch[order]
        least = drawn_by_note(texture.returns_s, onset_s, pitch)[order][:-1]
        gap = onset_s[order][1:] - offset_s[order][:-1]
        slack = np.concatenate([[0.0], np.maximum(gap - least, 0.0)])
        first = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
        count = np.diff(first, append=key.size)
        first, count = first[count > 1, None], count[count > 1]
        stroke = np.arange(count.max(initial=1))
        place = first + np.minimum(stroke, count[:, None] - 1)
        summed = np.cumsum(np.where(stroke < count[:, None], slack[place], 0.0), axis=1)
        return cls(order[place], summed - slack[first], count)
