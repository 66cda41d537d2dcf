"""Timing: onsets that waver, together within a chord, from note to note, more where notes lie far apart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from keybed.extract.degrade.ticks import on_ticks

CHORD_S = 0.03
"""Onsets closer than this belong to one chord and waver together."""
NOTE_TO_NOTE_CORRELATION = 0.5
"""Of one chord's shift with the next one's (an autoregressive process of order 1)."""
OWN_SHARE = 0.5
"""sd of a note's own shift relative to its chord's."""
INTERVAL_EXPONENT, INTERVAL_REFERENCE_S, INTERVAL_FACTORS = 0.5, 0.25, (0.5, 2.0)
"""The shift's sd grows with the square root of the inter-onset interval, within these factors."""
RESTRIKE_S = 0.03
"""No key is struck twice within this time, unless it was so before."""
_PASSES = 6


def jitter(
    onset_s: NDArray[np.float64],
    offset_s: NDArray[np.float64],
    pitch: NDArray[np.int16],
    sd_ms: float,
    window_s: float,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Shift whole notes (their length stays); return onsets, offsets and the sd in ms of the shifts applied.

    The sd is that of the window's notes. Notes stay on their side of the window's edges, and a key's strokes in order.
    """
    judged = (onset_s >= 0) & (onset_s < window_s)
    if sd_ms == 0.0 or judged.sum() < 2:
        return onset_s, offset_s, 0.0
    wish = _wavering(onset_s, rng)
    wish -= wish[judged].mean()
    wish /= wish[judged].std()
    target_s = sd_ms / 1000.0
    scale = target_s
    for _ in range(_PASSES):
        shift = _possible(wish * scale, onset_s, pitch, window_s)
        realised = float(shift[judged].std())
        if realised <= 0.0 or abs(realised - target_s) < 1e-3 * target_s:
            break
        scale *= target_s / realised
    return onset_s + shift, offset_s + shift, 1000.0 * realised


def _wavering(onset_s: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    starts = np.concatenate([[True], np.diff(onset_s) > CHORD_S])
    chord = np.cumsum(starts) - 1
    chord_s = onset_s[starts]
    interval = np.diff(chord_s, prepend=chord_s[0] - INTERVAL_REFERENCE_S)
    growth = np.clip((interval / INTERVAL_REFERENCE_S) ** INTERVAL_EXPONENT, *INTERVAL_FACTORS)
    rho = NOTE_TO_NOTE_CORRELATION
    fresh = rng.standard_normal(chord_s.size) * np.sqrt(1 - rho**2)
    common = lfilter([1.0], [1.0, -rho], fresh) * growth
    return np.asarray(common[chord] + OWN_SHARE * growth[chord] * rng.standard_normal(onset_s.size))


def _possible(
    shift: NDArray[np.float64], onset_s: NDArray[np.float64], pitch: NDArray[np.int16], window_s: float
) -> NDArray[np.float64]:
    """Turn round shifts that would cross an edge of the window; hold back those that would swap a key's strokes."""
    before, after = onset_s < 0, onset_s >= window_s
    low = np.where(before, -np.inf, np.where(after, window_s, 0.0)) - onset_s
    last = np.nextafter(window_s, 0.0)
    high = np.where(before, np.nextafter(0.0, -1.0), np.where(after, np.inf, last)) - onset_s
    shift = np.where((shift < low) | (shift > high), -shift, shift)
    shift = np.clip(shift, low, high)
    order = np.lexsort((onset_s, pitch))
    key, when = pitch[order], onset_s[order]
    gap = np.diff(when)
    slack = np.maximum(gap - np.minimum(gap, RESTRIKE_S), 0.0)
    moved = shift[order]
    tight = np.flatnonzero((key[1:] == key[:-1]) & (moved[1:] < moved[:-1] - slack))
    while tight.size:
        for j in tight:
            moved[j] = moved[j + 1] = 0.5 * (moved[j] + moved[j + 1])
        worse = (key[1:] == key[:-1]) & (moved[1:] < moved[:-1] - slack - 1e-12)
        again = np.flatnonzero(worse)
        if again.size and np.array_equal(again, tight):
            break
        tight = again
    shift = shift.copy()
    shift[order] = moved
    return np.asarray(np.clip(on_ticks(shift), low, high))
