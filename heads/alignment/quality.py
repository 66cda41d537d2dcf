"""A linear prediction of the scores from what later heads read of each modality.

InfoNCE keeps what both modalities have in common. This term keeps what the scores need, which may be in one of them alone;
without it the private tokens would learn nothing. Scores are those of training rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from keybed.heads.attention import KERNEL
from keybed.heads.inputs import MODALITIES, N_DIMENSIONS
from keybed.heads.losses import huber, label_weight

Array = Any
Tree = Any


def init_quality(key: Array, n_features: int) -> Tree:
    """A linear map to the scores, float32."""
    kernel = 0.1 * KERNEL(key, (n_features, N_DIMENSIONS), jnp.float32)
    return {"kernel": kernel, "bias": jnp.zeros(N_DIMENSIONS, jnp.float32)}


def moments(frame_BxTxD: Array, mask_BxT: Array) -> Array:
    """Mean and standard deviation over the valid bins, (B, 2·D)."""
    count_Bx1 = jnp.maximum(jnp.sum(mask_BxT, axis=1, keepdims=True), 1).astype(jnp.float32)
    kept = mask_BxT[:, :, None]
    mean_BxD = jnp.sum(jnp.where(kept, frame_BxTxD, 0.0), axis=1) / count_Bx1
    variance = jnp.sum(jnp.where(kept, frame_BxTxD - mean_BxD[:, None], 0.0) ** 2, axis=1) / count_Bx1
    return jnp.concatenate([mean_BxD, jnp.sqrt(variance + 1e-6)], axis=1)


def quality_loss(
    params: Mapping[str, Tree], read: Mapping[str, Array], score_BxK: Array, valid_BxK: Array, weight_B: Array
) -> Array:
    """Mean over the two modalities of Huber's loss on standardised scores. read: features (B, F) by modality."""
    weight_BxK = label_weight(valid_BxK, weight_B)
    losses = [huber(read[m] @ params[m]["kernel"] + params[m]["bias"][None], score_BxK, weight_BxK) for m in MODALITIES]
    return jnp.mean(jnp.stack(losses))
