"""Dynamics and the loudness half of expression: velocities lose part of their deviation or of their slow arch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def flatten_dynamics(
    velocity: NDArray[np.int16], trend: NDArray[np.float64], share_kept: float, counted: NDArray[np.bool_]
) -> tuple[NDArray[np.int16], float]:
    """Keep `share_kept` of each note's deviation from the loudness trend (n,): accents and voicing flatten.

    Returns velocities (n,) in whole steps and the realised share: 1 plus the least-squares slope, over the `counted`
    notes, of the velocity change on the deviation.
    """
    return _shrink(velocity, velocity - trend, share_kept, counted)


def flatten_arch(
    velocity: NDArray[np.int16], trend: NDArray[np.float64], share_kept: float, counted: NDArray[np.bool_]
) -> tuple[NDArray[np.int16], float]:
    """Keep `share_kept` of the trend's rise and fall about its mean over the `counted` notes.

    The mean loudness of the window stays. Returns velocities and the realised share, as `flatten_dynamics`.
    """
    if not counted.any():
        return velocity, 1.0
    return _shrink(velocity, trend - trend[counted].mean(), share_kept, counted)


def _shrink(
    velocity: NDArray[np.int16], part: NDArray[np.float64], share_kept: float, counted: NDArray[np.bool_]
) -> tuple[NDArray[np.int16], float]:
    power = float(np.sum(part[counted] ** 2))
    if share_kept == 1.0 or power == 0.0:
        return velocity, 1.0
    wanted = np.cumsum((share_kept - 1.0) * part)
    # Rounding the running sum carries each note's rounding error to the next, so that small slow changes survive.
    steps = np.diff(np.round(wanted), prepend=0.0)
    changed = np.clip(velocity + steps, 1, 127).astype(np.int16)
    change = (changed - velocity)[counted].astype(np.float64)
    return changed, 1.0 + float(np.sum(change * part[counted])) / power
