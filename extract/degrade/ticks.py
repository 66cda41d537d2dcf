"""Changed times lie on a binary grid, so that the last bit of a machine's exp or log cannot move a note."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TICK_S = 2.0**-20
"""About a microsecond, and exact in floating point."""


def on_ticks(times_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Times or durations rounded to whole ticks."""
    return np.asarray(np.round(times_s / TICK_S) * TICK_S)
