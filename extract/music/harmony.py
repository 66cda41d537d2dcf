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
