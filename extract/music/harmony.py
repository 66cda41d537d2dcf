"""Local key, and whether a pitch clashes with it or with sounding notes: which note is audibly wrong without a score."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MAJOR_PROFILE = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
"""Probe-tone ratings of a major key from the tonic up (Krumhansl & Kessler 1982)."""
MINOR_PROFILE = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)
"""Probe-tone ratings of a minor key from the tonic up (Krumhansl & Kessler 1982)."""
MAJOR_SCALE = (0, 2, 4, 5, 7, 9, 11)
"""Pitch classes above the tonic."""
MINOR_SCALE = (0, 2, 3, 5, 7, 8, 10, 11)
"""Pitch classes above the tonic: natural minor and the raised seventh."""
CLASHING_INTERVALS = (1, 11, 13)
"""Minor second, major seventh, minor ninth, in semitones between two sounding keys."""
PROFILE_LONGEST_S = 1.0
"""A note's weight in a local profile is its length in seconds, at most this."""
PROFILE_SMOOTHING = 0.1
"""Share of a local profile's weight that is spread evenly over the twelve pitch classes in addition."""
PROFILE_FLOOR = 1e-4
"""Added to the weight of each pitch class, so that a note alone in its neighbourhood meets an even profile."""


def _z(profile: tuple[float, ...]) -> NDArray[np.float64]:
    p = np.array(profile)
    return np.asarray((p - p.mean()) / p.std())


_TEMPLATES = np.stack(
    [np.roll(_z(profile), tonic) for profile in (MAJOR_PROFILE, MINOR_PROFILE) for tonic in range(12)]
)
_SCALES = (MAJOR_SCALE, MINOR_SCALE)


def local_key(pitch: NDArray[np.int16], length_s: NDArray[np.float64]) -> tuple[int, str]:
    """Tonic pitch class and "major" or "minor": the key profile that correlates best with length-weighted pitch classes."""
    weight = np.bincount(pitch % 12, weights=length_s, minlength=12)
    best = int(np.argmax(_TEMPLATES @ (weight - weight.mean())))
    return best % 12, ("major", "minor")[best // 12]


def scale_of(tonic: int, mode: str) -> frozenset[int]:
    """Pitch classes of the key's scale."""
    return frozenset((tonic + step) % 12 for step in _SCALES[mode == "minor"])


def clashes(pitch: int, sounding: list[int], scale: frozenset[int]) -> bool:
    """Whether a pitch is outside the scale, or CLASHING_INTERVALS away from a sounding pitch."""
    return pitch % 12 not in scale or any(abs(pitch - other) in CLASHING_INTERVALS for other in sounding)


def nearness(onset_s: NDArray[np.float64], sigma_s: float) -> NDArray[np.float64]:
    """Gaussian of sd sigma_s seconds in the distance of each two of n onsets, float64 (n, n)."""
    near = onset_s[:, None] - onset_s
    near /= sigma_s
    np.square(near, out=near)
    near *= -0.5
    return np.exp(near, out=near)


def local_profiles(
    near: NDArray[np.float64], length_s: NDArray[np.float64], pitch: NDArray[np.int16]
) -> NDArray[np.float64]:
    """Share of each pitch class around each of n notes, without the note itself, float64 (n, 12); rows sum to 1.

    near: `nearness` of the notes. Other notes weigh their length times that.
    """
    n = pitch.size
    near = near.copy()
    np.fill_diagonal(near, 0.0)
    weight = np.zeros((n, 12))
    weight[np.arange(n), pitch % 12] = np.minimum(length_s, PROFILE_LONGEST_S)
    mass = near @ weight
    mass += PROFILE_SMOOTHING / 12 * mass.sum(axis=1, keepdims=True) + PROFILE_FLOOR
    return np.asarray(mass / mass.sum(axis=1, keepdims=True))
