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
        return cls(time_s, side_by_side(columns))

    def where(self, kept: NDArray[np.bool_]) -> Events:
        """The events at which `kept`, bool (k,), is true."""
        return Events(self.time_s[kept], self.values[kept])


def side_by_side(columns: list[NDArray]) -> NDArray[np.float64]:
    """Arrays (k,) of numbers as the columns of one, float64 (k, c), in a third of np.column_stack's time."""
    table = np.empty((columns[0].size, len(columns)))
    for number, column in enumerate(columns):
        table[:, number] = column
    return table


def changes(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Difference of each value (k,) from the one before it; 0 for the first."""
    changed = np.zeros(values.size)
    np.subtract(values[1:], values[:-1], out=changed[1:])
    return changed
