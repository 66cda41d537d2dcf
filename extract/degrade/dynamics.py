"""Dynamics: velocities drawn towards the slow loudness trend, so that accents and voicing flatten."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def flatten_dynamics(
    velocity: NDArray[np.int16], trend: NDArray[np.float64], share_kept: float, judged: NDArray[np.bool_]
) -> tuple[NDArray[np.int16], float]:
    """Keep `share_kept` of each note's deviation from `trend`; return the velocities and the share realised.

    Realised: one plus the least-squares slope, over the `judged` notes, of the change made on the deviation, after
    rounding to whole velocities.
    """
    return _shrink(velocity, velocity - trend, share_kept, judged)


def flatten_arch(
    velocity: NDArray[np.int16], trend: NDArray[np.float64], share_kept: float, judged: NDArray[np.bool_]
) -> tuple[NDArray[np.int16], float]:
    """Keep `share_kept` of the trend's rise and fall about its mean over the judged notes (expression's loudness half).

    Realised as in `flatten_dynamics`. The arch is slow, so that the mean over the window stays as it was.
    """
    if not judged.any():
        return velocity, 1.0
    return _shrink(velocity, trend - trend[judged].mean(), share_kept, judged)


def _shrink(
    velocity: NDArray[np.int16], part: NDArray[np.float64], share_kept: float, judged: NDArray[np.bool_]
) -> tuple[NDArray[np.int16], float]:
    power = float(np.sum(part[judged] ** 2))
    if share_kept == 1.0 or power == 0.0:
        return velocity, 1.0
    wanted = np.cumsum((share_kept - 1.0) * part)
    # Rounding the sum hands each note's remainder to the next, so that small slow changes are not rounded away.
    steps = np.diff(np.round(wanted), prepend=0.0)
    changed = np.clip(velocity + steps, 1, 127).astype(np.int16)
    change = (changed - velocity)[judged].astype(np.float64)
    return changed, 1.0 + float(np.sum(change * part[judged])) / power
