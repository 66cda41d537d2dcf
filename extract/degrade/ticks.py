"""A binary time grid: changed times are rounded to it, so that processors whose exp or log differ give equal notes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TICK_S = 2.0**-20
"""Seconds; about a microsecond, and exact in floating point."""


def on_ticks(times_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Times or durations rounded to whole ticks."""
    return np.asarray(np.round(times_s / TICK_S) * TICK_S)
