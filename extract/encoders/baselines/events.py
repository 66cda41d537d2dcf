"""Events of one kind in a window: their times and measures, the unit that `expressive` pools."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Events(NamedTuple):
    """time_s: float64 (k,), within the window. values: float64 (k, c), one column per channel."""

    time_s: NDArray[np.float64]
    values: NDArray[np.float64]

    @classmethod
    def of(cls, time_s: NDArray[np.float64], columns: list[NDArray[np.float64]]) -> Events:
        """Events from one array (k,) per channel."""
        return cls(time_s, np.column_stack(columns).astype(np.float64))

    def where(self, kept: NDArray[np.bool_]) -> Events:
        """The events at which `kept`, bool (k,), is true."""
        return Events(self.time_s[kept], self.values[kept])
