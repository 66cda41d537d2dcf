"""A codebook that both modalities share: a clip vector is a sparse mixture of K common codewords.

The logit of codeword k is the largest cosine of any bin with it, ÷ SCALE; sparsemax turns logits into weights, most of
them 0 (MGA-CLAP, Li et al., ACM MM 2024, equations 2 and 3; its authors scale by 1000·√D and do not normalise). Both
modalities can then differ in the words alone that they use.
"""

# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from keybed.heads.contrast import FAR, normalise

Array = Any

SCALE = 0.1


def init_codebook(key: Array, n_codewords: int, width: int) -> Array:
    """codeword_KxD at length 1, float32."""
    return normalise(jax.random.normal(key, (n_codewords, width), jnp.float32))


@jax.custom_jvp
def sparsemax(logits_BxK: Array) -> Array:
    """Euclidean projection of each row onto the simplex (Martins and Astudillo, ICML 2016, algorithm 1), float32."""
    ordered = -jnp.sort(-logits_BxK, axis=-1)
    rank_K = jnp.arange(1, logits_BxK.shape[-1] + 1, dtype=logits_BxK.dtype)
    total = jnp.cumsum(ordered, axis=-1)
    kept = 1.0 + rank_K[None] * ordered > total
    n_kept = jnp.sum(kept, axis=-1, keepdims=True).astype(logits_BxK.dtype)
    threshold = (jnp.sum(jnp.where(kept, ordered, 0.0), axis=-1, keepdims=True) - 1.0) / n_kept
    return jnp.maximum(logits_BxK - threshold, 0.0)


@sparsemax.defjvp
def _sparsemax_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    """The derivative is that of the active entries minus their mean (equation 13)."""
    weight, tangent = sparsemax(*primals), tangents[0]
    active = (weight > 0).astype(tangent.dtype)
    mean = jnp.sum(active * tangent, axis=-1, keepdims=True) / jnp.sum(active, axis=-1, keepdims=True)
    return weight, active * (tangent - mean)


def codeword_weights(frame_BxTxD: Array, mask_BxT: Array, codeword_KxD: Array) -> Array:
    """weight_BxK: each row sums to 1; a row without a valid bin has weight 0 everywhere."""
    cosine_BxTxK = normalise(frame_BxTxD) @ normalise(codeword_KxD).T
    logits_BxK = jnp.max(jnp.where(mask_BxT[:, :, None], cosine_BxTxK, FAR), axis=1) / SCALE
    present_Bx1 = jnp.any(mask_BxT, axis=1, keepdims=True)
    weight_BxK = sparsemax(jnp.where(present_Bx1, logits_BxK, 0.0))
    return jnp.where(present_Bx1, weight_BxK, 0.0)


def mix(weight_BxK: Array, codeword_KxD: Array) -> Array:
    """clip_BxD: the weighted sum of codewords."""
    return weight_BxK @ normalise(codeword_KxD)
