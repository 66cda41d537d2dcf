"""Moments of an array's training observations in one pass over its shards: mean, deviation, reach and correlation.

Sums are of (x − centre) / scale with the mean and standard deviation of the first shard. A shard is a random sample of the
store, so these numbers have a mean near 0 and a deviation near 1, and subtracting the squared mean loses no precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from keybed.store.derive.shard_frames import observations
from keybed.store.derive.view_values import standardised

Numbers = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Units:
    """Centre and scale of one shard, float32 (D,) each; the scale is 1 where a number does not vary."""

    centre: Numbers
    scale: Numbers


@dataclass(frozen=True, eq=False)
class Sums:
    """Sums over n observations of D numbers: total and squares in `Units` (float64), lowest and highest in raw units.

    products: (D, D), the sum of x xᵀ in `Units`, or None where it was not requested.
    """

    n: int
    total: NDArray[np.float64]
    squares: NDArray[np.float64]
    lowest: Numbers
    highest: Numbers
    products: NDArray[np.float64] | None

    def plus(self, other: Sums) -> Sums:
        """Sums over the observations of both."""
        return Sums(
            self.n + other.n,
            self.total + other.total,
            self.squares + other.squares,
            np.minimum(self.lowest, other.lowest),
            np.maximum(self.highest, other.highest),
            None if self.products is None or other.products is None else self.products + other.products,
        )


@dataclass(frozen=True, eq=False)
class TrainMoments:
    """n observations; mean, std, and reach (the largest deviation from the mean): (D,). correlation: (D, D) or None.

    A number that never varies has std 0 and correlation 0, with itself too.
    """

    n: int
    mean: Numbers
    std: Numbers
    reach: Numbers
    correlation: NDArray[np.float64] | None


def units_of(path: str, content: str, array: str, shard: int) -> Units | None:
    """Mean and standard deviation of one shard's training observations; None where it has none."""
    values, _ = observations(path, content, array, shard)
    if not len(values):
        return None
    flat = values.reshape(len(values), -1)
    centre = flat.mean(axis=0, dtype=np.float64).astype(np.float32)
    spread = np.sqrt(np.square(flat - centre).mean(axis=0, dtype=np.float64)).astype(np.float32)
    return Units(centre, np.where(spread > 0, spread, np.float32(1)))


def sums_of(path: str, content: str, array: str, shards: Sequence[int], units: Units, with_products: bool) -> Sums:
    """Sums over the training observations of these shards, one shard in memory at a time."""
    n_numbers = len(units.centre)
    sums = Sums(
        n=0,
        total=np.zeros(n_numbers),
        squares=np.zeros(n_numbers),
        lowest=np.full(n_numbers, np.inf, np.float32),
        highest=np.full(n_numbers, -np.inf, np.float32),
        products=np.zeros((n_numbers, n_numbers)) if with_products else None,
    )
    for shard in shards:
        values, _ = observations(path, content, array, shard)
        if len(values):
            sums = sums.plus(sums_of_block(values.reshape(len(values), -1), units, with_products))
    return sums


def sums_of_block(x: Numbers, units: Units, with_products: bool) -> Sums:
    """Sums over the rows of x, (observations, D); x is overwritten."""
    lowest, highest = x.min(axis=0), x.max(axis=0)
    z = standardised(x, units.centre, units.scale)
    products = (z.T @ z).astype(np.float64) if with_products else None
    squares = np.square(z).sum(axis=0, dtype=np.float64) if products is None else products.diagonal().copy()
    return Sums(len(z), z.sum(axis=0, dtype=np.float64), squares, lowest, highest, products)


def finished(sums: Sums, units: Units) -> TrainMoments:
    """Moments in the array's own units."""
    shift = sums.total / sums.n
    variance = np.maximum(sums.squares / sums.n - shift**2, 0.0)
    mean = (units.centre + units.scale * shift).astype(np.float32)
    reach = np.maximum(sums.highest - mean, mean - sums.lowest)
    correlation = None
    if sums.products is not None:
        inverse = np.divide(1.0, np.sqrt(variance), out=np.zeros_like(variance), where=variance > 0)
        correlation = (sums.products / sums.n - np.outer(shift, shift)) * np.outer(inverse, inverse)
    return TrainMoments(sums.n, mean, (units.scale * np.sqrt(variance)).astype(np.float32), reach, correlation)
