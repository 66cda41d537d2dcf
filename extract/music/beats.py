"""One beat tracker for notes: dynamic programming over onset strength around one window (Ellis 2007, eq. 3-5).

It serves two ends: the tempo half of expression, where it must be sure of itself, and the difficulty covariate.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

CONTEXT_S = 10.0
"""Notes this far before and after a window help to find its beats."""
FRAME_S = 0.02
BLUR_S = 0.02
"""sd of the Gaussian laid over each chord's onset strength, the root of its summed velocities."""
SHORTEST_BEAT_S, LONGEST_BEAT_S = 0.25, 1.5
LIKELY_BEAT_S, LIKELY_OCTAVES = 0.6, 0.9
"""Log-normal prior on the beat."""
TIGHTNESS = 40.0
"""Weight of the squared log deviation from the beat, against onset strength in units of its sd."""
SECOND_TIGHTNESS = 10.0
"""Of a second opinion: beats that only one of the two finds are guesses (Holzapfel et al. 2012, mutual agreement)."""
SNAP_S = 0.07
"""A beat moves to the strongest chord within this distance."""
CHORD_S = 0.03
MEAN_BEATS = 8
"""The plain running mean that intervals are drawn towards."""
SURE_MIN_BEATS, SURE_SNAPPED, SURE_AGREED, SURE_MAX_CV, SURE_MAX_RATIO = 7, 0.8, 0.85, 0.25, 1.8
"""Sure: so many beats in the window, this share on an onset, this share agreed on, intervals this even."""
SURE_MIN_DEVIATION = 0.01
"""Relative sd of the beat intervals about their 8-beat mean below which there is no tempo arch to flatten."""


class Beats(NamedTuple):
    """beat_s: times, window and context. mean_s: 8-beat mean of each interval. sure: fit for changing the tempo."""

    beat_s: NDArray[np.float64]
    mean_s: NDArray[np.float64]
    sure: bool


_NONE = Beats(np.zeros(0), np.zeros(0), False)


def track_beats(onset_s: NDArray[np.float64], velocity: NDArray[np.int16], window_s: float) -> Beats:
    """Beats of the notes around the window [0, window_s); onsets sorted, in window time, context included."""
    if onset_s.size < 4 or onset_s[-1] - onset_s[0] < 2 * LONGEST_BEAT_S:
        return _NONE
    chord_s, strength = _chords(onset_s, velocity)
    origin = chord_s[0] - 0.1
    size = int((chord_s[-1] - origin) / FRAME_S) + 10
    frame = ((chord_s - origin) / FRAME_S).astype(np.int64)
    envelope = gaussian_filter1d(np.bincount(frame, weights=strength, minlength=size), BLUR_S / FRAME_S)
    spread = float(envelope.std())
    if spread == 0.0:
        return _NONE
    period = _period(envelope)
    paths = (_best_path(envelope / spread, period, tightness) for tightness in (TIGHTNESS, SECOND_TIGHTNESS))
    (beats, snapped), (second, _) = (_snap(origin + FRAME_S * (path + 0.5), chord_s, strength) for path in paths)
    if beats.size < 3:
        return _NONE
    interval = np.diff(beats)
    few = interval.size < MEAN_BEATS
    mean = np.full(interval.size, interval.mean()) if few else _running_mean(interval)
    return Beats(beats, mean, _sure(beats, interval, mean, snapped, second, window_s))


def _chords(
    onset_s: NDArray[np.float64], velocity: NDArray[np.int16]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    chord = np.cumsum(np.concatenate([[True], np.diff(onset_s) > CHORD_S])) - 1
    loudness = velocity / 64.0
    total = np.bincount(chord, weights=loudness)
    when = np.bincount(chord, weights=loudness * onset_s) / total
    return when, np.sqrt(total)


def _running_mean(interval: NDArray[np.float64]) -> NDArray[np.float64]:
    kernel = np.ones(MEAN_BEATS)
    return np.asarray(np.convolve(interval, kernel, "same") / np.convolve(np.ones(interval.size), kernel, "same"))


def _period(envelope: NDArray[np.float64]) -> float:
    """Frames a beat: the peak of the prior-weighted autocorrelation, with its doubles lending weight."""
    x = envelope - envelope.mean()
    n = x.size
    spectrum = np.fft.rfft(x, 2 * n)
    ac = np.fft.irfft(np.abs(spectrum) ** 2)[:n]
    lag = np.arange(int(SHORTEST_BEAT_S / FRAME_S), int(LONGEST_BEAT_S / FRAME_S) + 1)
    lag = lag[2 * lag + 1 < n]
    support = ac[lag] + 0.5 * np.maximum.reduce([ac[2 * lag - 1], ac[2 * lag], ac[2 * lag + 1]])
    prior = np.exp(-0.5 * (np.log2(lag * FRAME_S / LIKELY_BEAT_S) / LIKELY_OCTAVES) ** 2)
    return float(lag[int(np.argmax(np.maximum(support, 0.0) * prior))])


def _best_path(strength: NDArray[np.float64], period: float, tightness: float) -> NDArray[np.int64]:
    back = np.arange(round(0.5 * period), round(2.0 * period) + 1)
    cost = tightness * np.log(back / period) ** 2
    score, came_from = strength.copy(), np.full(strength.size, -1)
    for t in range(back[0], strength.size):
        reach = back[: np.searchsorted(back, t, side="right")]
        options = score[t - reach] - cost[: reach.size]
        best = int(np.argmax(options))
        if options[best] > 0:
            score[t] += options[best]
            came_from[t] = t - reach[best]
    tail = max(strength.size - back[-1], 0)
    t = tail + int(np.argmax(score[tail:]))
    path = []
    while t >= 0:
        path.append(t)
        t = int(came_from[t])
    return np.array(path[::-1], np.int64)


def _snap(
    beats: NDArray[np.float64], chord_s: NDArray[np.float64], strength: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Move each beat to the strongest chord near it; say which beats found one."""
    near = np.asarray(np.abs(chord_s[None, :] - beats[:, None]) <= SNAP_S)
    found = np.asarray(near.any(axis=1), np.bool_)
    best = np.argmax(np.where(near, strength, -1.0), 1)
    moved = np.where(found, chord_s[best], beats)
    keep = np.concatenate([[True], np.diff(moved) > 0.5 * SHORTEST_BEAT_S])
    return moved[keep], found[keep]


def _sure(
    beats: NDArray[np.float64],
    interval: NDArray[np.float64],
    mean: NDArray[np.float64],
    snapped: NDArray[np.bool_],
    second: NDArray[np.float64],
    window_s: float,
) -> bool:
    inside = (beats >= 0) & (beats < window_s)
    if inside.sum() < SURE_MIN_BEATS or snapped[inside].mean() < SURE_SNAPPED:
        return False
    agreed = np.abs(beats[inside, None] - second[None, :]).min(axis=1) < SNAP_S
    if agreed.mean() < SURE_AGREED:
        return False
    within = inside[1:] & inside[:-1]
    steps = interval[within]
    ratio = np.max(np.maximum(steps[1:] / steps[:-1], steps[:-1] / steps[1:]), initial=1.0)
    deviation = (steps / mean[within] - 1.0).std()
    return bool(
        steps.std() / steps.mean() <= SURE_MAX_CV and ratio <= SURE_MAX_RATIO and deviation >= SURE_MIN_DEVIATION
    )
