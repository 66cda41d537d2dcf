"""Power of n clips: the smallest correlation that is told from 0, and the interval around r = 0.5.

Computed with Fisher's z: atanh(r) is nearly normal with variance 1 / (n − 3 − controls).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from keybed.experiments.evaluation.intervals import LEVEL

_TARGET = 0.8


@dataclass(frozen=True)
class Power:
    """For n clips and raters whose mean has this reliability (1: no rater noise)."""

    n: int
    reliability: float
    smallest_r: float
    """Smallest observed correlation that differs from 0 with a power of 0.8."""
    smallest_true_r: float
    """Smallest correlation of labels with noise-free ratings that differs from 0 with a power of 0.8."""
    interval_at_half: tuple[float, float]
    """95 % interval of an observed r = 0.5."""


def power(n: int, reliability: float = 1.0, *, controls: int = 0) -> Power:
    """Power of a two-sided 5 % test of r = 0. Raises ValueError for n < 4 + controls or reliability outside (0, 1]."""
    if n < 4 + controls or not 0 < reliability <= 1:
        raise ValueError(f"power is undefined: n = {n}, controls = {controls}, reliability = {reliability}")
    reach = stats.norm.ppf((1 + LEVEL) / 2) + stats.norm.ppf(_TARGET)
    smallest = math.tanh(reach / math.sqrt(n - 3 - controls))
    return Power(
        n,
        reliability,
        smallest,
        min(1.0, smallest / math.sqrt(reliability)),
        fisher_interval(0.5, n, controls=controls),
    )


def fisher_interval(r: float, n: int, *, controls: int = 0) -> tuple[float, float]:
    """95 % interval of a correlation by Fisher's z; NaN where n leaves no degree of freedom."""
    if n - 3 - controls <= 0 or not np.isfinite(r) or abs(r) >= 1:
        return (r, r) if abs(r) >= 1 else (float("nan"), float("nan"))
    half = stats.norm.ppf((1 + LEVEL) / 2) / math.sqrt(n - 3 - controls)
    return math.tanh(math.atanh(r) - half), math.tanh(math.atanh(r) + half)


def largest_by_chance(n: int) -> float:
    """|r| that unrelated values of n clips exceed in 1 of 20 cases, by Student's t; 1 for fewer than 3 clips."""
    if n < 3:
        return 1.0
    t = float(stats.t.ppf((1 + LEVEL) / 2, n - 2))
    return t / math.sqrt(n - 2 + t * t)


def n_to_decide(r: float, threshold: float) -> float:
    """Clips at which the interval of this r would leave out the threshold; infinite where r is the threshold."""
    gap = abs(math.atanh(np.clip(r, -0.999, 0.999)) - math.atanh(threshold))
    return math.inf if gap == 0 else math.ceil(float((stats.norm.ppf((1 + LEVEL) / 2) / gap) ** 2) + 3)
