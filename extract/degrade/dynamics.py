"""Dynamics and the loudness half of expression: velocities lose part of their deviation or of their slow arch.

What is lost is replaced by touch from elsewhere in the recording: the deviations of other notes, in their order. The window then
has the velocities that it had, in another order: accents, voicing and arch flatten, and no velocity is new.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

SMOOTHED_NOTES = 1.5
"""Touch that stands in for the arch is smoothed by a Gaussian of this sd in notes."""
FEWEST_NOTES = 5
"""Windows with fewer notes keep their velocities."""
_PASSES = 6
_SWAPS, _PAIRS = 12, 100
_CLOSE = 2e-3


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
    rng: np.random.Generator,
) -> tuple[NDArray[np.int16], float, float]:
    """Keep a share of the trend's rise and fall about its mean, and a share of each note's deviation from the trend.

    touch: (2, n), of `touch_from_elsewhere`, for the arch and for the deviation. The `counted` notes (n,) get their own velocities
    in another order. Returns velocities (n,) and the realised shares of arch and deviation: 1 plus the slopes of the change of
    velocity on both, fitted together over the counted notes. A share of 1 is untouched and stays 1.
    """
    shares = np.array([arch_kept, deviation_kept])
    if (shares == 1.0).all() or counted.sum() < FEWEST_NOTES:
        return velocity, 1.0, 1.0
    n = velocity.size
    mean = float(trend[counted].mean())
    parts = np.stack([trend - mean, velocity - trend])
    own = parts[:, counted]
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
    sorted_velocity = np.sort(velocity[counted])
    fraction = rng.random(n)
    best, closest, got = velocity, np.inf, np.ones(2)
    for _ in range(_PASSES):
        lost = np.sqrt(np.maximum(1.0 - np.clip(kept, -1.0, 1.0) ** 2, 0.0) * power) * touched
        loudness = mean + kept @ parts + lost[0] * fresh[0] + lost[1] * fresh[1] + fraction
        changed = np.clip(np.floor(loudness), 1, 127).astype(np.int16)
        changed[counted] = sorted_velocity[np.argsort(np.argsort(loudness[counted], kind="stable"), kind="stable")]
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
