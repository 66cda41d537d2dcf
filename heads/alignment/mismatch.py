"""Mismatch detection: a small head says whether audio and notes are of one row, as MA-AVT's background token does.

In training a share of the rows gets the notes of another variant of the segment. The head reads both clip vectors and the
mean over time of the bins' products, which shows where single bins disagree. It is saved with the projections.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from keybed.heads.attention import KERNEL
from keybed.heads.contrast import normalise

Array = Any
Tree = Any

HIDDEN = 64


def init_mismatch(key: Array, width: int) -> Tree:
    """One hidden layer and one logit, float32."""
    first, second = jax.random.split(key)
    return {
        "hidden": {"kernel": KERNEL(first, (3 * width, HIDDEN), jnp.float32), "bias": jnp.zeros(HIDDEN, jnp.float32)},
        "logit": {"kernel": KERNEL(second, (HIDDEN, 1), jnp.float32), "bias": jnp.zeros(1, jnp.float32)},
    }


def evidence(audio_BxD: Array, midi_BxD: Array, audio_BxTxD: Array, midi_BxTxD: Array, mask_BxT: Array) -> Array:
    """What the head reads, (B, 3·D): product and distance of the clip vectors, and the mean product of their bins."""
    product_BxTxD = jnp.where(mask_BxT[:, :, None], normalise(audio_BxTxD) * normalise(midi_BxTxD), 0.0)
    n_bins_Bx1 = jnp.maximum(jnp.sum(mask_BxT, axis=1, keepdims=True), 1).astype(jnp.float32)
    width = audio_BxD.shape[1]
    return width**0.5 * jnp.concatenate(
        [
            audio_BxD * midi_BxD * width**0.5,
            jnp.abs(audio_BxD - midi_BxD),
            jnp.sum(product_BxTxD, axis=1) / n_bins_Bx1 * width**0.5,
        ],
        axis=1,
    )


def mismatch_logit(params: Mapping[str, Tree], evidence_BxF: Array) -> Array:
    """logit_B: above 0 where the notes do not belong to the audio."""
    hidden = jax.nn.gelu(evidence_BxF @ params["hidden"]["kernel"] + params["hidden"]["bias"][None])
    return (hidden @ params["logit"]["kernel"] + params["logit"]["bias"][None])[:, 0]


def swapped_rows(key: Array, share: float, segment_B: Array, excluded_BxB: Array, real_B: Array) -> tuple[Array, Array]:
    """(partner_B, swapped_B): a share of the rows, each with another variant of its segment whose notes differ.

    A row without such a variant is never swapped.
    """
    n = segment_B.shape[0]
    which_key, partner_key = jax.random.split(key)
    fits_BxB = (segment_B[:, None] == segment_B[None, :]) & ~excluded_BxB & ~jnp.eye(n, dtype=bool)
    fits_BxB = fits_BxB & real_B[:, None] & real_B[None, :]
    partner_B = jnp.argmax(jnp.where(fits_BxB, jax.random.uniform(partner_key, (n, n)), -1.0), axis=1)
    swapped_B = jax.random.bernoulli(which_key, share, (n,)) & jnp.any(fits_BxB, axis=1)
    return jnp.where(swapped_B, partner_B, jnp.arange(n)), swapped_B


def mismatch_loss(logit_B: Array, swapped_B: Array, weight_B: Array) -> Array:
    """Weighted mean binary cross-entropy; a row of weight 0 counts nothing."""
    sign = jnp.where(swapped_B, jnp.float32(-1.0), jnp.float32(1.0))
    loss_B = jnp.where(weight_B > 0, jax.nn.softplus(sign * logit_B), 0.0)
    return jnp.sum(loss_B * weight_B) / jnp.maximum(jnp.sum(weight_B), 1e-6)
