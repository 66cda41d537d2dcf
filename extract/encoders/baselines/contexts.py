"""Measures of the events around each bin and in the whole window: quantiles, log sd and log range."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

CONTEXT_S = 2.5
"""The context of a bin reaches this many seconds to either side of the bin's centre."""
FEWEST = 3
"""A context with fewer events takes the window's measure; a window with fewer events has measure 0."""


class Contexts:
    """Which of n events, at sorted time_s (n,), lie in the context of each bin; one more row stands for the whole window.

    Every measure takes values (n, c) and returns float64 (n_bins + 1, k), one column per quantile or per column of values.
    """

    def __init__(self, time_s: NDArray[np.float64], n_bins: int, window_s: float) -> None:
        begin_s, end_s = _edges(n_bins, window_s)
        self._first, self._end = time_s.searchsorted(begin_s), time_s.searchsorted(end_s, side="right")
        self._count = self._end - self._first
        self._few = self._count < FEWEST
        self._divisor = np.maximum(self._count, 1)[:, None]

    def quantiles(self, values: NDArray[np.float64], wanted: Sequence[tuple[int, float]]) -> NDArray[np.float64]:
        """For each wanted (column, share): the smallest value that at least this share of the events does not exceed."""
        if len(values) < FEWEST:
            return np.zeros((self._count.size, len(wanted)))
        columns = [column for column, _ in wanted]
        rank = np.ceil(np.array([share for _, share in wanted]) * self._count[:, None] - 1e-9).astype(np.intp)
        place = np.maximum(rank, 1) - 1
        # Of the bins, each row padded to the longest; the window, much longer, is ordered by itself.
        first, count = self._first[:-1, None], self._count[:-1, None]
        within = np.arange(max(count.max(), 1))
        ordered = np.where(within >= count, np.inf, values.T[:, np.minimum(first + within, len(values) - 1)])
        ordered.sort(axis=2)
        of_bins = ordered[columns, np.arange(len(count))[:, None], place[:-1]]
        of_window = np.sort(values, axis=0)[place[-1:], columns]
        return self._filled(np.concatenate([of_bins, of_window]))

    def means(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean of each column."""
        if len(values) < FEWEST:
            return np.zeros((self._count.size, values.shape[1]))
        sums = np.zeros((len(values) + 1, values.shape[1]))
        np.cumsum(values, axis=0, out=sums[1:])
        return self._filled((sums[self._end] - sums[self._first]) / self._divisor)

    def log_sd(self, values: NDArray[np.float64], floor: float) -> NDArray[np.float64]:
        """log2 of the standard deviation plus a floor."""
        if len(values) < FEWEST:
            return np.zeros((self._count.size, values.shape[1]))
        k = values.shape[1]
        sums = np.zeros((len(values) + 1, 2 * k))
        np.subtract(values, values.mean(axis=0), out=sums[1:, :k])
        np.square(sums[1:, :k], out=sums[1:, k:])
        np.cumsum(sums[1:], axis=0, out=sums[1:])
        both = (sums[self._end] - sums[self._first]) / self._divisor
        return self._filled(np.log2(np.sqrt(np.maximum(both[:, k:] - both[:, :k] ** 2, 0.0)) + floor))

    def log_range(self, values: NDArray[np.float64], floor: float) -> NDArray[np.float64]:
        """log2 of the largest minus the smallest value plus a floor."""
        if len(values) < FEWEST:
            return np.zeros((self._count.size, values.shape[1]))
        padded = np.concatenate([values, values[-1:]])
        edges = np.column_stack([self._first, self._end]).ravel()
        span = np.maximum.reduceat(padded, edges)[::2] - np.minimum.reduceat(padded, edges)[::2]
        return self._filled(np.log2(span + floor))

    def correlations(self, value: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
        """Correlation of a value (n,) with each of k columns (n, k); 0 where either hardly varies."""
        k = others.shape[1]
        if value.size < FEWEST:
            return np.zeros((self._count.size, k))
        x, y = value[:, None] - value.mean(), others - others.mean(axis=0)
        sums = np.zeros((value.size + 1, 3 * k + 2))
        np.cumsum(np.concatenate([x * y, y, y**2, x, x**2], axis=1), axis=0, out=sums[1:])
        mean = (sums[self._end] - sums[self._first]) / self._divisor
        xy, y1, y2, x1, x2 = mean[:, :k], mean[:, k : 2 * k], mean[:, 2 * k : 3 * k], mean[:, [-2]], mean[:, [-1]]
        power = np.maximum(x2 - x1**2, 0.0) * np.maximum(y2 - y1**2, 0.0)
        return self._filled(np.where(power > 1e-12, (xy - x1 * y1) / np.sqrt(np.maximum(power, 1e-12)), 0.0))

    def _filled(self, measure: NDArray[np.float64]) -> NDArray[np.float64]:
        """The window's measure in place of that of contexts with too few events."""
        measure[self._few] = measure[-1]
        return measure


@cache
def _edges(n_bins: int, window_s: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Begin and end of each bin's context, then of the window's, which has none."""
    centre_s = (np.arange(n_bins) + 0.5) * (window_s / n_bins)
    return np.append(centre_s - CONTEXT_S, -np.inf), np.append(centre_s + CONTEXT_S, np.inf)
