"""Rater model: the quality of each clip, and bias, drift, gain and noise of each rater, estimated together.

rating = bias_r + drift_r · time + gain_r · quality_c + noise_r · t(4). Quality is normal around 0, gains are normal around 1.
Noisy raters weigh less, and so do single outliers (errors follow Student's t). Fitted by expectation–maximisation, with
the t as a scale mixture: Lange, Little and Taylor, JASA 84 (1989); rater-specific noise as in Dawid and Skene (1979),
for ratings on a scale instead of classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

TAIL_FREEDOM = 4.0
GAIN_PRIOR_SD = 0.3
_PRIOR_RATINGS = 2.0
_MAX_ROUNDS = 500
_TOLERANCE = 1e-6


@dataclass(frozen=True, eq=False)
class RaterFit:
    """quality: (clip,), posterior mean. The rest: (rater,), in points of the scale.

    drift is the change from the first to the last presentation, drift_sd its standard error. reliability is the squared correlation
    between the estimated and the true quality that the model expects.
    """

    quality: Floats
    bias: Floats
    drift: Floats
    drift_sd: Floats
    gain: Floats
    noise: Floats
    spread: float
    reliability: float


def fit_raters(ratings_CxR: Floats, time_CxR: Floats) -> RaterFit:
    """Fit to ratings (clip, rater), NaN where missing; time_CxR: when in the session each rating was given, 0..1.

    Raises ValueError where a rater has fewer than 4 ratings or there are fewer than 4 clips.
    """
    known = ~np.isnan(ratings_CxR)
    if ratings_CxR.shape[0] < 4 or known.sum(axis=0).min(initial=4) < 4:
        raise ValueError("a rater model needs at least 4 clips, and 4 ratings from every rater")
    y = np.where(known, ratings_CxR, 0.0)
    t = np.where(known, time_CxR - 0.5, 0.0)
    n_clips, n_raters = y.shape
    bias = y.sum(axis=0) / known.sum(axis=0)
    drift, gain = np.zeros(n_raters), np.ones(n_raters)
    centred = np.where(known, y - bias, 0.0)
    quality = centred.sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    spread = max(float(quality.var()), 1e-6)
    noise = np.full(n_raters, max(float(centred[known].var()) / 2, 1e-6))
    weight = known.astype(np.float64)
    variance = np.full(n_clips, spread)
    prior_noise = float(np.mean(noise))
    for _ in range(_MAX_ROUNDS):
        before = quality
        precision = 1 / spread + (weight * gain**2 / noise).sum(axis=1)
        rest = np.where(known, y - bias - drift * t, 0.0)
        quality = (weight * gain * rest / noise).sum(axis=1) / precision
        variance = 1 / precision
        quality = quality - quality.mean()
        spread = max(float((quality**2 + variance).mean()), 1e-9)
        squared = np.where(known, (rest - gain * quality[:, None]) ** 2 + gain**2 * variance[:, None], 0.0)
        weight = np.where(known, (TAIL_FREEDOM + 1) / (TAIL_FREEDOM + squared / noise), 0.0)
        for r in range(n_raters):
            bias[r], drift[r], gain[r] = _regress(y[:, r], t[:, r], weight[:, r], quality, variance, noise[r])
        rest = np.where(known, y - bias - drift * t, 0.0)
        squared = np.where(known, (rest - gain * quality[:, None]) ** 2 + gain**2 * variance[:, None], 0.0)
        noise = ((weight * squared).sum(axis=0) + _PRIOR_RATINGS * prior_noise) / (known.sum(axis=0) + _PRIOR_RATINGS)
        scale = float(gain.mean())
        gain, quality, variance, spread = gain / scale, quality * scale, variance * scale**2, spread * scale**2
        if np.abs(quality - before).max() < _TOLERANCE * np.sqrt(spread):
            break
    drift_sd = np.array([_drift_sd(t[:, r], weight[:, r], noise[r]) for r in range(n_raters)])
    reliability = float(np.clip(1 - variance.mean() / spread, 0, 1))
    return RaterFit(
        quality,
        bias,
        drift,
        drift_sd,
        gain,
        np.sqrt(noise),
        float(np.sqrt(spread)),
        reliability,
    )


def _regress(
    y: Floats, t: Floats, weight: Floats, quality: Floats, variance: Floats, noise: float
) -> tuple[float, float, float]:
    """Weighted least squares of one rater's ratings on 1, time and the uncertain quality, with a prior of the gain around 1."""
    design = np.stack([np.ones_like(t), t, quality], axis=1)
    gram = (design * weight[:, None]).T @ design
    gram[2, 2] += (weight * variance).sum() + noise / GAIN_PRIOR_SD**2
    gram[1, 1] += 1e-9
    target = (design * weight[:, None]).T @ y
    target[2] += noise / GAIN_PRIOR_SD**2
    bias, drift, gain = np.linalg.solve(gram, target)
    return float(bias), float(drift), max(float(gain), 0.05)


def _drift_sd(t: Floats, weight: Floats, noise: float) -> float:
    total = weight.sum()
    centre = (weight * t).sum() / total
    around = (weight * (t - centre) ** 2).sum()
    return float(np.sqrt(noise / around)) if around > 0 else float("nan")
