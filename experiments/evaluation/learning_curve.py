"""Learning curves: r as a function of the training size, its extrapolation, and the size that a target needs.

Two forms are fitted by least squares: a power law c − a·n^−b (Hestness et al., arXiv:1712.00409, eq. 1) and a straight line in
log n. The first levels off and the second does not, and five sizes cannot tell them apart; so an extrapolated
interval reaches over both. Every resample of the test pieces and draws is fitted again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.evaluation.intervals import Interval

Floats = NDArray[np.float64]
EXPONENTS = np.geomspace(0.05, 2.0, 200)
FARTHEST = 64.0
"""Times the largest measured size: sizes beyond are not told from unreachable ones."""
CEILING = 1.0


@dataclass(frozen=True, eq=False)
class PowerLaw:
    """r = c − a·n^−b for B resamples; a ≥ 0, c ≤ 1. n: in units of the largest measured size."""

    a_B: Floats
    b_B: Floats
    c_B: Floats

    def at(self, n: float) -> Floats:
        """r at size n, (B,)."""
        value: Floats = self.c_B - self.a_B * n**-self.b_B
        return value

    def size_for(self, r: float) -> Floats:
        """The size at which r is reached, (B,); infinite where it is not reached."""
        reachable = (self.c_B > r) & (self.a_B > 0)
        ratio = np.divide(self.a_B, self.c_B - r, out=np.full_like(self.a_B, np.inf), where=reachable)
        with np.errstate(over="ignore"):
            size = np.where(reachable, ratio ** (1 / self.b_B), np.inf)
        return np.where((self.a_B == 0) & (self.c_B >= r), 0.0, size)


def fit_power_law(n_S: Floats, r_BxS: Floats) -> PowerLaw:
    """Least squares over a grid of exponents; for each exponent a and c follow in closed form."""
    best = np.full(len(r_BxS), np.inf)
    a, b, c = np.zeros(len(r_BxS)), np.full(len(r_BxS), EXPONENTS[0]), r_BxS.mean(1)
    for exponent in EXPONENTS:
        x = -(n_S**-exponent)
        mean_x, mean_r = x.mean(), r_BxS.mean(1)
        slope = np.maximum(((r_BxS - mean_r[:, None]) @ (x - mean_x)) / ((x - mean_x) ** 2).sum(), 0.0)
        level = mean_r - slope * mean_x
        capped = level > CEILING
        slope = np.where(capped, np.maximum((r_BxS - CEILING) @ x / (x @ x), 0.0), slope)
        level = np.where(capped, CEILING, level)
        error = ((r_BxS - level[:, None] - slope[:, None] * x) ** 2).sum(1)
        better = error < best - 1e-15
        best = np.where(better, error, best)
        a, b, c = np.where(better, slope, a), np.where(better, exponent, b), np.where(better, level, c)
    return PowerLaw(a, b, c)


@dataclass(frozen=True, eq=False)
class LogLine:
    """r = level + slope·log2 n for B resamples, at most 1."""

    slope_B: Floats
    level_B: Floats

    def at(self, n: float) -> Floats:
        """r at size n, (B,)."""
        return np.minimum(self.level_B + self.slope_B * np.log2(n), CEILING)

    def size_for(self, r: float) -> Floats:
        """The size at which r is reached, (B,); infinite where the line does not rise to it."""
        rising = self.slope_B > 0
        doublings = np.divide(r - self.level_B, self.slope_B, out=np.full_like(self.slope_B, np.inf), where=rising)
        size: Floats = 2.0 ** np.minimum(doublings, 1000.0)
        return np.where(rising, size, np.where(self.level_B >= r, 0.0, np.inf))


def fit_log_line(n_S: Floats, r_BxS: Floats) -> LogLine:
    """Least squares."""
    x = np.log2(n_S)
    slope = ((r_BxS - r_BxS.mean(1, keepdims=True)) @ (x - x.mean())) / ((x - x.mean()) ** 2).sum()
    return LogLine(slope, r_BxS.mean(1) - slope * x.mean())


@dataclass(frozen=True)
class Needed:
    """The training segments that a target needs: None beyond FARTHEST times the measured ones."""

    target: float
    reached: bool
    segments: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Extrapolation:
    """One model's curve. limit, rate: c and b of the power law. ahead: r at multiples of the largest size.

    backtest: r at the largest size as the smaller sizes predict it; observed: as measured.
    """

    limit: Interval
    rate: Interval
    ahead: dict[str, Interval]
    backtest: Interval
    observed: Interval


def extrapolate(n_S: Floats, r_S: Floats, drawn_BxS: Floats, multiples: tuple[int, ...] = (2, 4, 16)) -> Extrapolation:
    """Fit the curve and its resamples. n_S: ascending sizes; r_S: measured; drawn_BxS: resampled."""
    n = n_S / n_S[-1]
    known = np.isfinite(drawn_BxS).all(1)
    drawn = drawn_BxS[known]
    point, law, line = fit_power_law(n, r_S[None]), fit_power_law(n, drawn), fit_log_line(n, drawn)
    before, earlier = fit_power_law(n[:-1], r_S[None, :-1]), fit_power_law(n[:-1], drawn[:, :-1])
    straight = fit_log_line(n[:-1], drawn[:, :-1])
    return Extrapolation(
        limit=_interval(float(point.c_B[0]), law.c_B),
        rate=_interval(float(point.b_B[0]), law.b_B),
        ahead={f"{m}": _interval(float(point.at(m)[0]), law.at(m), line.at(m)) for m in multiples},
        backtest=_interval(float(before.at(1.0)[0]), earlier.at(1.0), straight.at(1.0)),
        observed=_interval(float(r_S[-1]), drawn[:, -1]),
    )


def needed(n_S: Floats, r_S: Floats, drawn_BxS: Floats, target: float) -> Needed:
    """The size at which the curve reaches a target; the interval reaches over both forms."""
    n = n_S / n_S[-1]
    drawn = drawn_BxS[np.isfinite(drawn_BxS).all(1)]
    if r_S[-1] >= target:
        return Needed(target, True, None, None, None)
    point = float(fit_power_law(n, r_S[None]).size_for(target)[0])
    sizes = (fit_power_law(n, drawn).size_for(target), fit_log_line(n, drawn).size_for(target))
    low = min(float(np.quantile(s, 0.025, method="lower")) for s in sizes)
    high = max(float(np.quantile(s, 0.975, method="higher")) for s in sizes)

    def segments(size: float) -> float | None:
        return size * float(n_S[-1]) if size <= FARTHEST else None

    return Needed(target, False, segments(point), segments(low), segments(high))


def _interval(value: float, *drawn: Floats) -> Interval:
    """Percentile interval of 95 %, over all forms."""
    return Interval(
        value,
        min(float(np.quantile(d, 0.025)) for d in drawn),
        max(float(np.quantile(d, 0.975)) for d in drawn),
    )
