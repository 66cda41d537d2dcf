"""Beat tracking of notes: dynamic programming over onset strength around one window (Ellis 2007, eq. 3-5).

Two users: the tempo half of expression, which needs a sure result, and the difficulty covariate tempo_variability.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from keybed.extract.music.chords import CHORD_GAP_S, chord_numbers, chord_starts

CONTEXT_S = 10.0
"""Notes up to this many seconds before and after a window are used to find its beats."""
FRAME_S = 0.02
"""Frame of the onset envelope in seconds."""
BLUR_S = 0.02
"""sd in seconds of the Gaussian that smooths the envelope; a chord's strength is the root of its summed velocities."""
SHORTEST_BEAT_S, LONGEST_BEAT_S = 0.25, 1.5
"""Range of beat periods in seconds."""
LIKELY_BEAT_S = 0.6
"""Centre in seconds of the log-normal prior on the beat period."""
LIKELY_OCTAVES = 0.9
"""sd of that prior in octaves."""
TIGHTNESS = 40.0
"""Weight of the squared log deviation from the beat period; onset strength is in units of its sd."""
SECOND_TIGHTNESS = 10.0
"""Tightness of a second tracking; beats found by only one of the two are uncertain (Holzapfel et al. 2012)."""
SNAP_S = 0.07
"""A beat moves to the strongest chord within this many seconds."""
MEAN_BEATS = 8
"""Number of beats in the running mean that intervals are drawn towards."""
SURE_MIN_BEATS = 7
"""The result is sure only with this many beats in the window."""
SURE_SNAPPED = 0.8
"""Sure: at least this share of the window's beats lies on a chord."""
SURE_AGREED = 0.85
"""Sure: at least this share of the window's beats is found by both trackings."""
SURE_MAX_CV = 0.25
"""Sure: the sd of the beat intervals over their mean is at most this."""
SURE_MAX_RATIO = 1.8
"""Sure: neighbouring beat intervals differ at most by this factor."""
SURE_MIN_DEVIATION = 0.01
"""Sure: the relative sd of the beat intervals about their 8-beat mean is at least this; below it no rubato can be removed."""


class Beats(NamedTuple):
    """beat_s: float64 (b,), in the window and its context. mean_s: float64 (b - 1,), the 8-beat mean at each interval.

    sure: whether the beats are reliable enough to change the tempo.
    """

    beat_s: NDArray[np.float64]
    mean_s: NDArray[np.float64]
    sure: bool


_NO_BEATS = Beats(np.zeros(0), np.zeros(0), False)


def track_beats(onset_s: NDArray[np.float64], velocity: NDArray[np.int16], window_s: float) -> Beats:
    """Track beats around the window [0, window_s).

    onset_s: float64 (n,), sorted, window time, with the context of CONTEXT_S on both sides. Without enough notes the
    result has no beats and is not sure.
    """
    from scipy.ndimage import gaussian_filter1d

    if onset_s.size < 4 or onset_s[-1] - onset_s[0] < 2 * LONGEST_BEAT_S:
        return _NO_BEATS
    chord_s, strength = _chords(onset_s, velocity)
    origin = chord_s[0] - 0.1
    size = int((chord_s[-1] - origin) / FRAME_S) + 10
    frame = ((chord_s - origin) / FRAME_S).astype(np.int64)
    envelope = gaussian_filter1d(np.bincount(frame, weights=strength, minlength=size), BLUR_S / FRAME_S)
    sd = float(envelope.std())
    if sd == 0.0:
        return _NO_BEATS
    period = _period(envelope)
    paths = _best_paths(envelope / sd, period)
    (beats, snapped), (second, _) = (_snap(origin + FRAME_S * (path + 0.5), chord_s, strength) for path in paths)
    if beats.size < 3:
        return _NO_BEATS
    interval = np.diff(beats)
    few = interval.size < MEAN_BEATS
    mean = np.full(interval.size, interval.mean()) if few else _running_mean(interval)
    return Beats(beats, mean, _sure(beats, interval, mean, snapped, second, window_s))


def _chords(
    onset_s: NDArray[np.float64], velocity: NDArray[np.int16]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Each chord's velocity-weighted mean onset and its onset strength."""
    chord = chord_numbers(chord_starts(onset_s, max_gap_s=CHORD_GAP_S))
    loudness = velocity / 64.0
    total = np.bincount(chord, weights=loudness)
    mean_s = np.bincount(chord, weights=loudness * onset_s) / total
    return mean_s, np.sqrt(total)


def _running_mean(interval: NDArray[np.float64]) -> NDArray[np.float64]:
    kernel = np.ones(MEAN_BEATS)
    return np.asarray(np.convolve(interval, kernel, "same") / np.convolve(np.ones(interval.size), kernel, "same"))


def _period(envelope: NDArray[np.float64]) -> float:
    """Frames per beat: peak of the prior-weighted autocorrelation, where half the value at twice the lag is added."""
    x = envelope - envelope.mean()
    n = x.size
    spectrum = np.fft.rfft(x, 2 * n)
    ac = np.fft.irfft(np.abs(spectrum) ** 2)[:n]
    lag = np.arange(int(SHORTEST_BEAT_S / FRAME_S), int(LONGEST_BEAT_S / FRAME_S) + 1)
    lag = lag[2 * lag + 1 < n]
    support = ac[lag] + 0.5 * np.maximum.reduce([ac[2 * lag - 1], ac[2 * lag], ac[2 * lag + 1]])
    prior = np.exp(-0.5 * (np.log2(lag * FRAME_S / LIKELY_BEAT_S) / LIKELY_OCTAVES) ** 2)
    return float(lag[int(np.argmax(np.maximum(support, 0.0) * prior))])


def _best_paths(strength: NDArray[np.float64], period: float) -> list[NDArray[np.int64]]:
    """Frames of the beats for TIGHTNESS and SECOND_TIGHTNESS: the path that maximises summed strength minus the cost of uneven intervals.

    No interval is shorter than `back[0]`, so that many frames are computed at a time, from scores that are final.
    """
    back = np.arange(round(0.5 * period), round(2.0 * period) + 1)
    cost_KxB = np.array([[TIGHTNESS], [SECOND_TIGHTNESS]]) * np.log(back / period) ** 2
    n, first, longest = strength.size, int(back[0]), int(back[-1])
    padded_KxT = np.full((2, longest + n), -np.inf)
    score_KxT = padded_KxT[:, longest:]
    score_KxT[:] = strength
    gain_KxT, best_KxT = np.full((2, n), -np.inf), np.zeros((2, n), np.intp)
    reach_KxTxB = np.lib.stride_tricks.sliding_window_view(padded_KxT, back.size, axis=1)[:, :, ::-1]
    for t in range(first, n, first):
        block = slice(t, min(t + first, n))
        # Window t of `reach` ends at frame t - back[0].
        options = reach_KxTxB[:, block] - cost_KxB[:, None]
        best_KxT[:, block] = options.argmax(2)
        gain_KxT[:, block] = gain = options.max(2)
        score_KxT[:, block] += np.maximum(gain, 0.0)
    came_from_KxT = np.where(gain_KxT > 0, np.arange(n) - first - best_KxT, -1)
    return [_traced(score, came_from, longest) for score, came_from in zip(score_KxT, came_from_KxT, strict=True)]


def _traced(score: NDArray[np.float64], came_from: NDArray[np.int64], longest: int) -> NDArray[np.int64]:
    """The path that ends at the best score within the last `longest` frames."""
    tail = max(score.size - longest, 0)
    t = tail + int(np.argmax(score[tail:]))
    path = []
    while t >= 0:
        path.append(t)
        t = int(came_from[t])
    return np.array(path[::-1], np.int64)


def _snap(
    beats: NDArray[np.float64], chord_s: NDArray[np.float64], strength: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Beats moved to the strongest chord within SNAP_S, and which of them were moved."""
    near = np.asarray(np.abs(chord_s[None, :] - beats[:, None]) <= SNAP_S)
    snapped = np.asarray(near.any(axis=1), np.bool_)
    best = np.argmax(np.where(near, strength, -1.0), 1)
    moved = np.where(snapped, chord_s[best], beats)
    keep = np.concatenate([[True], np.diff(moved) > 0.5 * SHORTEST_BEAT_S])
    return moved[keep], snapped[keep]


def _sure(
    beats: NDArray[np.float64],
    interval: NDArray[np.float64],
    mean: NDArray[np.float64],
    snapped: NDArray[np.bool_],
    second: NDArray[np.float64],
    window_s: float,
) -> bool:
    """Whether all SURE_ conditions hold."""
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
