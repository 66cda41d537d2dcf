"""The slow loudness arch of a whole recording: a Gaussian mean of the notes' velocities over time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

TREND_SIGMA_S = 1.5
"""sd of the Gaussian, about a bar: what is slower is the arch, what is faster an accent."""
GRID_S = 0.05


def loudness_trend(onset_s: NDArray[np.float64], velocity: NDArray[np.int16]) -> NDArray[np.float64]:
    """The trend (n,) at every note: mean velocity weighted by a Gaussian of TREND_SIGMA_S (Nadaraya-Watson).

    Computed on a grid of GRID_S, so that a recording of any length costs a moment.
    """
    if onset_s.size == 0:
        return np.zeros(0)
    cell = np.round((onset_s - onset_s.min()) / GRID_S).astype(np.int64)
    count = np.bincount(cell).astype(np.float64)
    total = np.bincount(cell, weights=velocity.astype(np.float64))
    smooth = [gaussian_filter1d(x, TREND_SIGMA_S / GRID_S, mode="constant", truncate=4.0) for x in (total, count)]
    return np.asarray(smooth[0][cell] / smooth[1][cell])
