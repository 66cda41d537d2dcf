"""Synthetic features with the offsets, scales, smoothness and rank of a frozen encoder's states.

Channels have lognormal offsets and scales, rows vary in 64 directions, bins follow each other with correlation 0.8, the
second statistic is positive. Noise would not compress and a constant would compress to nothing, so compression depends
on these choices; `--source STORE` runs a benchmark on a real store instead.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

RANK = 64


@lru_cache(maxsize=8)
def _channels(n_stats: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    random = np.random.default_rng([7, n_stats, width])
    offset = random.normal(size=(n_stats, width)) * np.exp(random.normal(-1.5, 0.8, size=(n_stats, width)))
    scale = np.exp(random.normal(-2.0, 0.5, size=(n_stats, width)))
    loading = random.normal(size=(RANK, width)) / np.sqrt(RANK)
    return offset.astype(np.float32), scale.astype(np.float32), loading.astype(np.float32)


def frames(seed: int, n_rows: int, n_bins: int = 20, n_stats: int = 2, width: int = 768) -> NDArray[np.float16]:
    """float16 (n_rows, n_bins, n_stats, width)."""
    random = np.random.default_rng(seed)
    offset, scale, loading = _channels(n_stats, width)
    frames = np.empty((n_rows, n_bins, n_stats, width), np.float16)
    latent = random.standard_normal((n_rows, n_stats, RANK), np.float32)
    for at in range(n_bins):
        latent = 0.8 * latent + 0.6 * random.standard_normal(latent.shape, np.float32)
        values = latent @ loading + 0.3 * random.standard_normal((n_rows, n_stats, width), np.float32)
        values = offset + scale * values
        values[:, 1:] = np.abs(values[:, 1:])
        frames[:, at] = values
    return frames


def layers(seed: int, n_rows: int, n_states: int = 13, n_stats: int = 2, width: int = 768) -> NDArray[np.float16]:
    """float16 (n_rows, n_stats, n_states, width): successive states correlate as bins do."""
    return np.ascontiguousarray(frames(seed, n_rows, n_states, n_stats, width).swapaxes(1, 2))
