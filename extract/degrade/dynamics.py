"""Dynamics and the loudness half of expression: velocities lose part of their deviation or of their slow arch.

COMPRESSED of what is lost shrinks the spread, as in flat playing: the window gets the velocities of a stretch of the recording whose
spread is smaller by that much. The rest is replaced by touch from elsewhere in the recording, the deviations of other notes in
their order: these velocities are dealt out in another order, so that accents and voicing lose their place as well.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

COMPRESSED = 0.4
"""Share of the lost deviation and of the lost arch by which their spread (sd) shrinks; touch from elsewhere replaces the rest."""
SMOOTHED_NOTES = 1.5
"""Touch that stands in for the arch is smoothed by a Gaussian of this sd in notes."""
ALIKE = 8
"""A flatter stretch is drawn from this many of the recording that are nearest in spread and mean."""
MEAN_PER_SPREAD = 40.0
"""A mean this many steps of velocity away counts as much as a spread that is e times as large."""
FEWEST_NOTES = 5
"""Windows with fewer notes keep their velocities."""
_PASSES = 6
_SWAPS, _PAIRS = 12, 100
_CLOSE = 2e-3


class Stretches:
    """Means and spreads of all stretches of one length of a recording. velocity: int16 (n,), of all of its notes."""

    def __init__(self, velocity: NDArray[np.int16]) -> None:
        self.velocity = velocity
        self._length = 0
        self._measured = np.zeros(0), np.zeros(0)

    def of_length(self, n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and sd of the velocities of n notes in a row, from each note on. Kept for the next call: variants have one length."""
        if n != self._length:
            total, square = (np.cumsum(np.r_[0.0, self.velocity.astype(np.float64) ** k]) for k in (1, 2))
            means = (total[n:] - total[:-n]) / n
            self._measured = means, np.sqrt(np.maximum((square[n:] - square[:-n]) / n - means**2, 1e-9))
            self._length = n
        return self._measured


def dealt_out(ordered: NDArray[Any], by: NDArray[np.float64]) -> NDArray[Any]:
    """Values in rising order (n,), the least one where `by` (n,) is least, and so on."""
    values = np.empty_like(ordered)
    values[np.argsort(by, kind="stable")] = ordered
    return values


def touch_from_elsewhere(deviation: NDArray[np.float64], n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Deviations from the loudness trend (n,) of as many notes in a row, from a random place of the recording on."""
    start = int(rng.integers(max(deviation.size, 1)))
    return np.take(deviation, np.arange(start, start + n), mode="wrap")


def flatten_loudness(
    velocity: NDArray[np.int16],
    trend: NDArray[np.float64],
    arch_kept: float,
    deviation_kept: float,
    counted: NDArray[np.bool_],
    touch: NDArray[np.float64],
    stretches: Stretches,
    rng: np.random.Generator,
) -> tuple[NDArray[np.int16], float, float]:
    """Keep a share of the trend's rise and fall about its mean, and a share of each note's deviation from the trend.

    touch: (2, n), of `touch_from_elsewhere`, for the arch and for the deviation. stretches: of the recording. The `counted`
    notes (n,) get the velocities of a flatter stretch, in an order near their own. Returns velocities (n,) and the realised shares
    of arch and deviation: 1 plus the slopes of the change of velocity on both, fitted together over the counted notes. A share of
    1 is untouched and stays 1.
    """
    shares = np.array([arch_kept, deviation_kept])
    if (shares == 1.0).all() or counted.sum() < FEWEST_NOTES:
        return velocity, 1.0, 1.0
    n = velocity.size
    mean = float(trend[counted].mean())
    parts = np.stack([trend - mean, velocity - trend])
    own = parts[:, counted]
    from scipy.ndimage import gaussian_filter1d

    power = (own**2).sum(1)
    touched = (shares < 1.0) & (power > 1e-6 * n)
    if not touched.any():
        return velocity, 1.0, 1.0
    base = np.vstack([np.ones(n), parts]).T
    fresh = [
        _unrelated(gaussian_filter1d(touch[0], SMOOTHED_NOTES), base, counted),
        _unrelated(touch[1], base, counted),
    ]
    inverse = np.asarray(np.linalg.pinv(own @ own.T), np.float64)
    kept, wanted = np.where(touched, shares, 1.0), np.where(touched, shares, 1.0)
    spread = np.where(touched, 1.0 - COMPRESSED * (1.0 - shares), 1.0)
    fraction = rng.random(n)
    shrink = float(np.sqrt((spread**2 * power).sum() / power.sum()))
    values = _flatter(velocity[counted], shrink, stretches, rng)
    best, closest, got = velocity, np.inf, np.ones(2)
    for _ in range(_PASSES):
        lost = np.sqrt(np.maximum(spread**2 - np.clip(kept, -1.0, 1.0) ** 2, 0.0) * power) * touched
        loudness = mean + kept @ parts + lost[0] * fresh[0] + lost[1] * fresh[1] + fraction
        changed = np.clip(np.floor(loudness), 1, 127).astype(np.int16)
        changed[counted] = dealt_out(values, loudness[counted])
        realised = 1.0 + inverse @ (own @ (changed - velocity)[counted].astype(np.float64))
        gap = wanted - realised
        if np.abs(gap).max() < closest:
            best, closest, got = changed, float(np.abs(gap).max()), realised
        if closest < _CLOSE:
            break
        kept = np.clip(kept + gap, -1.0, 3.0)
    best, got = _refined(best, wanted, counted, own, inverse, velocity, rng)
    arch, deviation = np.where(touched, got, 1.0).tolist()
    return best, float(arch), float(deviation)


def _flatter(
    velocity: NDArray[np.int16], shrink: float, stretches: Stretches, rng: np.random.Generator
) -> NDArray[np.int16]:
    """As many velocities in rising order, with the same mean and a spread that is smaller by a factor.

    They are those of a stretch of the recording that is about as flat, moved to the mean and drawn together by what is left,
    with the dither that every row has.
    """
    n, mean, sd = velocity.size, float(velocity.mean()), float(velocity.std()) * shrink
    stretch = velocity.astype(np.float64)
    recording = stretches.velocity
    if recording.size >= n + ALIKE:
        means, sds = stretches.of_length(n)
        far = np.abs(np.log(sds / max(sd, 1e-3))) + np.abs(means - mean) / MEAN_PER_SPREAD
        start = int(rng.choice(np.argpartition(far, ALIKE - 1)[:ALIKE]))
        stretch = recording[start : start + n].astype(np.float64)
    ratio = sd / max(float(stretch.std()), 1e-3)
    moved = np.round(mean - stretch.mean()) + stretch.mean() + ratio * (stretch - stretch.mean())
    return np.sort(np.clip(np.round(moved + rng.uniform(-1, 1, n)), 1, 127).astype(np.int16))


def _refined(
    changed: NDArray[np.int16],
    wanted: NDArray[np.float64],
    counted: NDArray[np.bool_],
    own: NDArray[np.float64],
    inverse: NDArray[np.float64],
    velocity: NDArray[np.int16],
    rng: np.random.Generator,
) -> tuple[NDArray[np.int16], NDArray[np.float64]]:
    """Let pairs of notes change velocities while that brings the realised shares nearer to the wanted ones; and these shares."""
    weights = inverse @ own
    now = changed[counted].astype(np.float64)
    realised = 1.0 + weights @ (now - velocity[counted])
    for _ in range(_SWAPS):
        if np.abs(wanted - realised).max() < _CLOSE:
            break
        a, b = rng.integers(now.size, size=(2, _PAIRS))
        after = realised[:, None] + (weights[:, a] - weights[:, b]) * (now[b] - now[a])
        nearest = int(np.argmin(np.abs(wanted[:, None] - after).max(0)))
        if np.abs(wanted - after[:, nearest]).max() >= np.abs(wanted - realised).max():
            continue
        i, j = a[nearest], b[nearest]
        now[i], now[j], realised = now[j], now[i], after[:, nearest]
    result = changed.copy()
    result[counted] = now.astype(np.int16)
    return result, 1.0 + weights @ (now - velocity[counted])


def _unrelated(
    touch: NDArray[np.float64], base: NDArray[np.float64], counted: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """The part of a touch (n,) that no column of base explains over the counted notes; sum of squares 1, or 0 where none is left."""
    rest = touch - base @ np.linalg.lstsq(base[counted], touch[counted], rcond=None)[0]
    power = float(np.sum(rest[counted] ** 2))
    return np.asarray(rest / np.sqrt(power)) if power > 1e-6 else np.zeros(touch.size)
