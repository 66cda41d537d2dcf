"""Intervals by resampling pieces and seeds together: vectorised BCa bootstrap with the small-sample expansion.

A statistic is a function of weights: one weight per piece and one per seed. Rows of one piece are correlated, and so are
all predictions of one seed, so rows and heads are never resampled alone. Differences are computed inside one resample
(paired). scipy.stats.bootstrap resamples one factor, unweighted, and lacks the expansion, so it is not used.

Sources: Efron, Better bootstrap confidence intervals, JASA 82 (1987), eq. 2.3 (BCa, acceleration from the jackknife);
Hesterberg, What teachers should know about the bootstrap, Am. Stat. 69 (2015), section 5.3 (quantiles expanded by
sqrt(n / (n - 1)) and Student's t, without which few clusters give intervals that are too short).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]
Statistic = Callable[[Floats, Floats], Floats]
"""(piece weights (B, P), seed weights (B, S)) -> values (B, …). Weights of one give the estimate itself."""

REPLICATES = 2000
LEVEL = 0.95
_CHUNK = 250


@dataclass(frozen=True)
class Interval:
    """An estimate and its bounds; NaN bounds where the statistic does not exist in over 5 % of the resamples."""

    value: float
    low: float
    high: float

    @property
    def above_zero(self) -> bool:
        """True where the whole interval lies above zero; false where it is not defined."""
        return bool(self.low > 0)

    def within(self, low: float, high: float) -> Interval:
        """The interval without what the statistic cannot reach: resampled seeds have weights below 0 and go beyond."""
        return Interval(self.value, float(np.clip(self.low, low, high)), float(np.clip(self.high, low, high)))

    def to_json(self) -> dict[str, float | None]:
        """Plain JSON: null instead of NaN."""
        return {"value": finite(self.value), "low": finite(self.low), "high": finite(self.high)}

    @staticmethod
    def from_json(data: Mapping[str, float | None]) -> Interval:
        """Inverse of `to_json`."""
        known = (data[key] for key in ("value", "low", "high"))
        return Interval(*(float("nan") if v is None else v for v in known))


def finite(value: float) -> float | None:
    """A JSON number, or None for NaN and infinities."""
    return float(value) if np.isfinite(value) else None


def resample(n_pieces: int, n_seeds: int, replicates: int, seed: int) -> tuple[Floats, Floats]:
    """Weights of `replicates` resamples: pieces multinomial, seeds multinomial with deviations × sqrt(S / (S - 1)).

    With five seeds a plain bootstrap understates their share of the variance by a fifth. The scaling makes it unbiased for
    every statistic that is a mean over seeds, as all statistics here are.
    """
    random = np.random.default_rng(seed)
    pieces = random.multinomial(n_pieces, np.full(n_pieces, 1 / n_pieces), size=replicates).astype(np.float64)
    seeds = random.multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), size=replicates).astype(np.float64)
    if n_seeds > 1:
        seeds = 1 + (seeds - 1) * np.sqrt(n_seeds / (n_seeds - 1))
    return pieces, seeds


def intervals(
    statistic: Statistic,
    n_pieces: int,
    n_seeds: int,
    *,
    replicates: int = REPLICATES,
    level: float = LEVEL,
    seed: int = 0,
) -> NDArray[np.object_]:
    """Expanded BCa intervals of every value that the statistic returns, as an object array of `Interval`.

    Raises ValueError for fewer than two pieces.
    """
    if n_pieces < 2:
        raise ValueError(f"an interval over pieces needs at least 2 of them, not {n_pieces}")
    ones_p, ones_s = np.ones((1, n_pieces)), np.ones((1, n_seeds))
    value = np.asarray(statistic(ones_p, ones_s))[0]
    pieces, seeds = resample(n_pieces, n_seeds, replicates, seed)
    drawn = np.concatenate(
        [statistic(pieces[i : i + _CHUNK], seeds[i : i + _CHUNK]) for i in range(0, replicates, _CHUNK)]
    ).reshape(replicates, -1)

    without_piece = 1 - np.eye(n_pieces)
    jack = [statistic(without_piece, np.repeat(ones_s, n_pieces, 0)).reshape(n_pieces, -1)]
    if n_seeds > 1:
        without_seed = 1 - np.eye(n_seeds)
        jack.append(statistic(np.repeat(ones_p, n_seeds, 0), without_seed).reshape(n_seeds, -1))
    bounds = _bca(value.reshape(-1), drawn, jack, n_pieces, level)

    result = np.empty(value.shape, dtype=object)
    for i, (v, low, high) in enumerate(zip(value.reshape(-1), *bounds, strict=True)):
        result.reshape(-1)[i] = Interval(float(v), float(low), float(high))
    return result


def _bca(value: Floats, drawn: Floats, jackknives: list[Floats], n_pieces: int, level: float) -> tuple[Floats, Floats]:
    """Lower and upper bounds (Q,) from replicates (B, Q) and leave-one-out values of each factor."""
    pull = np.concatenate([_mean_of_known(jack) - jack for jack in jackknives]) if drawn.size else drawn
    pull = np.nan_to_num(pull)
    squares = (pull**2).sum(axis=0)
    acceleration = np.divide((pull**3).sum(axis=0), 6 * squares**1.5, out=np.zeros_like(squares), where=squares > 0)

    exists = np.isfinite(drawn)
    count = np.maximum(exists.sum(axis=0), 1)
    below = ((drawn < value) & exists).sum(axis=0) + 0.5 * ((drawn == value) & exists).sum(axis=0)
    bias = stats.norm.ppf(np.clip(below / count, 0.5 / count, 1 - 0.5 / count))

    reach = np.sqrt(n_pieces / (n_pieces - 1)) * stats.t.ppf((1 + level) / 2, n_pieces - 1)
    low, high = np.full_like(value, np.nan), np.full_like(value, np.nan)
    for q in range(value.size):
        if not np.isfinite(value[q]) or exists[:, q].mean() < 0.95:
            continue
        tails = []
        for z in (-reach, reach):
            shifted = bias[q] + z
            tails.append(stats.norm.cdf(bias[q] + shifted / max(1 - acceleration[q] * shifted, 1e-3)))
        low[q], high[q] = np.quantile(drawn[exists[:, q], q], tails)
    return low, high


def _mean_of_known(values_NxQ: Floats) -> Floats:
    """Mean over values that are not NaN; 0 where all are."""
    total: Floats = np.nansum(values_NxQ, axis=0) / np.maximum((~np.isnan(values_NxQ)).sum(axis=0), 1)
    return total
