"""The slow loudness trend of a recording: a Gaussian-weighted mean of velocity over time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TREND_SIGMA_S = 1.5
"""sd of the Gaussian in seconds, about one bar: slower changes are the arch, faster ones are accents."""
GRID_S = 0.05
"""Grid in seconds on which the trend is computed."""


def loudness_trend(onset_s: NDArray[np.float64], velocity: NDArray[np.int16]) -> NDArray[np.float64]:
    """The trend, float64 (n,), at every note: mean velocity weighted by a Gaussian of TREND_SIGMA_S (Nadaraya-Watson).

    The grid of GRID_S keeps the cost linear in the length of the recording.
    """
    from scipy.ndimage import gaussian_filter1d

    if onset_s.size == 0:
        return np.zeros(0)
    cell = np.round((onset_s - onset_s.min()) / GRID_S).astype(np.int64)
    count = np.bincount(cell).astype(np.float64)
    total = np.bincount(cell, weights=velocity.astype(np.float64))
    smooth = [gaussian_filter1d(x, TREND_SIGMA_S / GRID_S, mode="constant", truncate=4.0) for x in (total, count)]
    return np.asarray(smooth[0][cell] / smooth[1][cell])
