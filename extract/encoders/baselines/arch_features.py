"""Measures of the `expressive` baseline that flattened expression changes: sd and range of the loudness trend at five widths.

docs/expressive.md gives unit, meaning and weakness of each channel.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from keybed.extract.encoders.baselines.contexts import Contexts
from keybed.extract.encoders.baselines.events import Events
from keybed.extract.music.performance import Performance

TREND_WIDTHS_S = (0.25, 0.5, 1.0, 1.5, 3.0)
"""sd in seconds of the Gaussians that smooth velocity."""
GRID_S = 0.1
"""Grid in seconds on which the trends are computed."""
FLOOR = 0.3
"""Added, in velocity steps, to sd and range before the logarithm."""
ARCH_CHANNELS = tuple(f"arch_{width_s:g}s" for width_s in TREND_WIDTHS_S)
ARCH_CONTEXTS = tuple(
    f"{what}_{width_s:g}s_log2" for what in ("trend_sd", "trend_range", "accent_sd") for width_s in TREND_WIDTHS_S
)


def trends_of(notes: Performance, window_s: float) -> Events:
    """At the onsets within the window: the velocity, then its trend at each width, on a grid of GRID_S."""
    within = (notes.onset_s >= 0) & (notes.onset_s < window_s)
    onset_s, velocity = notes.onset_s[within], notes.velocity[within].astype(np.float64)
    n_cells = round(window_s / GRID_S)
    cell = np.minimum((onset_s / GRID_S).astype(np.intp), n_cells - 1)
    total, count = np.bincount(cell, velocity, n_cells), np.bincount(cell, minlength=n_cells)
    sums = (_kernels(n_cells) @ np.column_stack([total, count])).reshape(len(TREND_WIDTHS_S), n_cells, 2)[:, cell]
    trend = sums[:, :, 0] / sums[:, :, 1]
    return Events.of(onset_s, [velocity, *trend])


@cache
def _kernels(n_cells: int) -> NDArray[np.float64]:
    """Gaussian weight of each cell at each cell, one width after the other, float64 (widths × n_cells, n_cells)."""
    apart_s = (np.arange(n_cells)[:, None] - np.arange(n_cells)) * GRID_S
    return np.concatenate([np.exp(-0.5 * (apart_s / width_s) ** 2) for width_s in TREND_WIDTHS_S])


def arch_measures(trends: Events) -> Events:
    """ARCH_CHANNELS at the same onsets: |trend − its mean over the window| at each width."""
    trend = trends.values[:, 1:]
    return Events(trends.time_s, np.abs(trend - trend.mean(axis=0)) if len(trend) else trend)


def arch_contexts(trends: Events, contexts: Contexts) -> list[NDArray[np.float64]]:
    """ARCH_CONTEXTS, tables of n_bins + 1 rows."""
    velocity, trend = trends.values[:, :1], trends.values[:, 1:]
    both = contexts.log_sd(np.concatenate([trend, velocity - trend], axis=1), FLOOR)
    n = len(TREND_WIDTHS_S)
    return [both[:, :n], contexts.log_range(trend, FLOOR), both[:, n:]]
