"""Losses on masked, weighted batches. Sums are divided at the end, so padded rows change nothing.

Every function takes float32 JAX arrays and returns a float32 scalar; a batch without valid labels gives 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

Array = Any

_EPSILON = 1e-6


@dataclass(frozen=True)
class LossWeights:
    """Weight of each loss. Ranking alone leaves the scale of scores open, so `FitConfig` asks for huber or ccc beside it."""

    huber: float = 1.0
    ccc: float = 0.5
    ranking: float = 0.1
    huber_delta: float = 1.0
    """In standard deviations of the score."""


def label_weight(valid_BxK: Array, weight_B: Array) -> Array:
    """weight_BxK: the row's weight where the label is valid, else 0."""
    return valid_BxK.astype(jnp.float32) * weight_B[:, None]


def huber(prediction_BxK: Array, score_BxK: Array, weight_BxK: Array, delta: float = 1.0) -> Array:
    """Weighted mean of Huber's loss: e²/2 up to |e| = delta, delta(|e| − delta/2) beyond."""
    error = _at_labels(prediction_BxK - score_BxK, weight_BxK)
    size = jnp.abs(error)
    inside = jnp.minimum(size, delta)
    loss = 0.5 * inside**2 + delta * (size - inside)
    return jnp.sum(weight_BxK * loss) / jnp.maximum(jnp.sum(weight_BxK), _EPSILON)


def ccc_loss(prediction_BxK: Array, score_BxK: Array, weight_BxK: Array) -> Array:
    """1 − Lin's concordance 2·cov / (var + var + (mean − mean)²), averaged over the dimensions with a label (1989, eq. 3)."""
    total_K = jnp.maximum(jnp.sum(weight_BxK, axis=0), _EPSILON)

    def mean(x_BxK: Array) -> Array:
        return jnp.sum(weight_BxK * x_BxK, axis=0) / total_K

    prediction_BxK, score_BxK = _at_labels(prediction_BxK, weight_BxK), _at_labels(score_BxK, weight_BxK)
    p_mean_K, s_mean_K = mean(prediction_BxK), mean(score_BxK)
    p_BxK, s_BxK = prediction_BxK - p_mean_K[None], score_BxK - s_mean_K[None]
    spread_K = mean(p_BxK**2) + mean(s_BxK**2) + (p_mean_K - s_mean_K) ** 2
    ccc_K = 2.0 * mean(p_BxK * s_BxK) / (spread_K + _EPSILON)
    counts_K = (jnp.sum(weight_BxK > 0, axis=0) >= 2).astype(jnp.float32)
    return jnp.sum((1.0 - ccc_K) * counts_K) / jnp.maximum(jnp.sum(counts_K), 1.0)


def ranking_loss(prediction_BxK: Array, score_BxK: Array, weight_BxK: Array, segment_B: Array, reach: int) -> Array:
    """Pairwise logistic loss (RankNet, Burges 2005) between variants of one segment: log(1 + exp(p_low − p_high)).

    Weighted mean over pairs of rows of one segment, at most `reach` rows apart, whose true scores differ and are both valid;
    row weights multiply. Rows of segment −1 (padding) are left out.
    """
    valid_BxK = weight_BxK > 0
    score_BxK, prediction_BxK = _at_labels(score_BxK, weight_BxK), _at_labels(prediction_BxK, weight_BxK)
    loss_sum, total = jnp.float32(0.0), jnp.float32(0.0)
    for step in range(1, min(reach, len(segment_B) - 1) + 1):
        same_B = (segment_B[step:] == segment_B[:-step]) & (segment_B[step:] >= 0)
        sign = jnp.sign(score_BxK[step:] - score_BxK[:-step])
        pair = same_B[:, None] & (sign != 0) & valid_BxK[step:] & valid_BxK[:-step]
        weight = jnp.where(pair, weight_BxK[step:] * weight_BxK[:-step], 0.0)
        loss = jax.nn.softplus(-sign * (prediction_BxK[step:] - prediction_BxK[:-step]))
        loss_sum, total = loss_sum + jnp.sum(weight * loss), total + jnp.sum(weight)
    return loss_sum / jnp.maximum(total, _EPSILON)


def _at_labels(x_BxK: Array, weight_BxK: Array) -> Array:
    """x where there is a label, else 0, because a score that is not valid may be NaN."""
    return jnp.where(weight_BxK > 0, x_BxK, 0.0)


def combined(
    prediction_BxK: Array, score_BxK: Array, valid_BxK: Array, weight_B: Array, segment_B: Array, weights: LossWeights
) -> Array:
    """The training loss: the weighted sum of the three on standardised scores. Rows of a segment must be neighbours."""
    weight_BxK = label_weight(valid_BxK, weight_B)
    loss = jnp.float32(0.0)
    if weights.huber:
        loss = loss + weights.huber * huber(prediction_BxK, score_BxK, weight_BxK, weights.huber_delta)
    if weights.ccc:
        loss = loss + weights.ccc * ccc_loss(prediction_BxK, score_BxK, weight_BxK)
    if weights.ranking:
        loss = loss + weights.ranking * ranking_loss(prediction_BxK, score_BxK, weight_BxK, segment_B, 3)
    return loss
