"""Agreement between raters and of each rater with themselves. Ratings are (clip, rater), NaN where there is none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from keybed.experiments.evaluation.intervals import LEVEL, Interval

Floats = NDArray[np.float64]
_NAN = float("nan")


@dataclass(frozen=True)
class Intraclass:
    """Intraclass correlations of one dimension; n_clips: clips that every rater rated.

    single: ICC(2,1), mean: ICC(2,k), both absolute agreement with raters drawn from many. consistency: ICC(3,k), the
    reliability of a mean over these raters; a rater's constant bias does not count, as in a correlation.
    """

    single: Interval
    mean: Interval
    consistency: float
    n_clips: int


def intraclass(ratings_CxR: Floats) -> Intraclass:
    """ICC(2,1), ICC(2,k) and ICC(3,k) of the clips that every rater rated.

    Shrout and Fleiss, Psychol. Bull. 86 (1979); interval: McGraw and Wong, Psychol. Methods 1 (1996), table 7. NaN with
    fewer than 3 such clips or 2 raters, or without variance.
    """
    whole = ratings_CxR[~np.isnan(ratings_CxR).any(axis=1)]
    n, k = whole.shape
    nothing = Intraclass(Interval(_NAN, _NAN, _NAN), Interval(_NAN, _NAN, _NAN), _NAN, n)
    if n < 3 or k < 2:
        return nothing
    clips, raters, error = _mean_squares(whole)
    if clips <= 0:
        return nothing
    single = (clips - error) / (clips + (k - 1) * error + k * (raters - error) / n)
    low, high = _absolute_interval(clips, raters, error, single, n, k)
    return Intraclass(
        Interval(single, low, high),
        Interval((clips - error) / (clips + (raters - error) / n), _stepped_up(low, k), _stepped_up(high, k)),
        (clips - error) / clips,
        n,
    )


def _mean_squares(whole: Floats) -> tuple[float, float, float]:
    """Between clips, between raters, residual."""
    n, k = whole.shape
    grand, by_clip, by_rater = whole.mean(), whole.mean(axis=1), whole.mean(axis=0)
    clips = k * ((by_clip - grand) ** 2).sum() / (n - 1)
    raters = n * ((by_rater - grand) ** 2).sum() / (k - 1)
    residual = whole - by_clip[:, None] - by_rater[None, :] + grand
    return float(clips), float(raters), float((residual**2).sum() / ((n - 1) * (k - 1)))


def _absolute_interval(clips: float, raters: float, error: float, single: float, n: int, k: int) -> tuple[float, float]:
    if error <= 0:
        return single, single
    a, b = k * single / (n * (1 - single)), 1 + k * single * (n - 1) / (n * (1 - single))
    freedom = (a * raters + b * error) ** 2 / ((a * raters) ** 2 / (k - 1) + (b * error) ** 2 / ((n - 1) * (k - 1)))
    tail = 1 - (1 - LEVEL) / 2
    wide, narrow = stats.f.ppf(tail, n - 1, freedom), stats.f.ppf(tail, freedom, n - 1)
    spare = k * raters + (k * n - k - n) * error
    low = n * (clips - wide * error) / (wide * spare + n * clips)
    high = n * (narrow * clips - error) / (spare + n * narrow * clips)
    return float(low), float(high)


def _stepped_up(single: float, k: int) -> float:
    """Spearman and Brown: the reliability of a mean of k from that of one."""
    return single * k / (1 + single * (k - 1)) if np.isfinite(single) else _NAN


def krippendorff_alpha(ratings_CxR: Floats) -> float:
    """Krippendorff's alpha with the interval metric and missing values; NaN where no clip has two ratings or all are equal.

    Krippendorff, Computing Krippendorff's Alpha-Reliability (2011): 1 − observed / expected disagreement over the
    coincidences of pairable values.
    """
    paired = ratings_CxR[(~np.isnan(ratings_CxR)).sum(axis=1) >= 2]
    if paired.size == 0:
        return _NAN
    values = np.unique(paired[~np.isnan(paired)])
    clip, rater = np.nonzero(~np.isnan(paired))
    counts = np.zeros((len(paired), values.size))
    np.add.at(counts, (clip, np.searchsorted(values, paired[clip, rater])), 1)
    per_clip = counts.sum(axis=1, keepdims=True)
    weighted = counts / (per_clip - 1)
    coincidence = weighted.T @ counts - np.diag(weighted.sum(axis=0))
    total_by_value = coincidence.sum(axis=1)
    total = total_by_value.sum()
    distance = (values[:, None] - values[None, :]) ** 2
    expected = (np.outer(total_by_value, total_by_value) * distance).sum() / (total - 1)
    return _NAN if expected == 0 else float(1 - (coincidence * distance).sum() / expected)


@dataclass(frozen=True)
class SelfAgreement:
    """One rater's two ratings of the same clips; sd is the within-rater error in points of the scale."""

    r: float
    sd: float
    shift: float
    n: int


def self_agreement(first: Floats, second: Floats) -> SelfAgreement:
    """From the first and the second rating of the same clips; NaNs are left out.

    sd = sd(second − first) / √2; shift = mean(second − first).
    """
    both = ~np.isnan(first) & ~np.isnan(second)
    n = int(both.sum())
    if n < 3:
        return SelfAgreement(_NAN, _NAN, _NAN, n)
    a, b = first[both], second[both]
    r = float(np.corrcoef(a, b)[0, 1]) if a.std() > 0 and b.std() > 0 else _NAN
    return SelfAgreement(r, float((b - a).std(ddof=1) / np.sqrt(2)), float((b - a).mean()), n)
