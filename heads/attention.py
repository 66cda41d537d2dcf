"""Attention as small pure functions: masked softmax, scaled dot products, pooling over bins."""

# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Array = Any

_FAR = -1e9
"""Stands for −infinity in masked logits; finite, so that rows without a single valid key keep finite gradients."""


def masked_softmax(logits: Array, mask: Array) -> Array:
    """Softmax over the last axis among the keys where `mask` (broadcastable) is true; all 0 where none is. float32."""
    weight = _softmax(jnp.where(mask, logits.astype(jnp.float32), jnp.float32(_FAR)))
    return weight * jnp.any(mask, axis=-1, keepdims=True).astype(jnp.float32)


@jax.custom_jvp
def _softmax(logits: Array) -> Array:
    return jax.nn.softmax(logits, axis=-1)


@_softmax.defjvp
def _softmax_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    """From what softmax returned. JAX's own derivative goes back through the quotient and takes three times as long here."""
    weight, change = _softmax(*primals), tangents[0]
    return weight, weight * (change - jnp.sum(weight * change, axis=-1, keepdims=True))


def dot_product_attention(
    query_BxHxQxD: Array, key_BxHxTxD: Array, value_BxHxTxD: Array, mask_BxT: Array, bias_HxQxT: Array
) -> tuple[Array, Array]:
    """Softmax(q·k/√D + bias)·v over the valid keys.

    Returns out_BxHxQxD in the values' dtype and weight_BxHxQxT in float32. Rows and heads are one batch axis of two plain
    batched products, which on CPUs takes two thirds of the time of products with two batch axes.
    """
    n, heads, n_query, depth = query_BxHxQxD.shape
    query, key, value = (x.reshape(n * heads, *x.shape[2:]) for x in (query_BxHxQxD, key_BxHxTxD, value_BxHxTxD))
    logits = _compared(query * depth**-0.5, key)
    logits_BxHxQxT = logits.astype(jnp.float32).reshape(n, heads, n_query, -1) + bias_HxQxT.astype(jnp.float32)[None]
    weight_BxHxQxT = masked_softmax(logits_BxHxQxT, mask_BxT[:, None, None, :])
    out = _gathered(weight_BxHxQxT.astype(value.dtype).reshape(n * heads, n_query, -1), value)
    return out.reshape(n, heads, n_query, depth), weight_BxHxQxT


@jax.custom_vjp
def _compared(query_NxQxD: Array, key_NxTxD: Array) -> Array:
    return query_NxQxD @ jnp.swapaxes(key_NxTxD, 1, 2)


def _compared_backward(kept: tuple[Array, Array], change_NxQxT: Array) -> tuple[Array, Array]:
    query_NxQxD, key_NxTxD = kept
    return change_NxQxT @ key_NxTxD, _turned(change_NxQxT) @ query_NxQxD


@jax.custom_vjp
def _gathered(weight_NxQxT: Array, value_NxTxD: Array) -> Array:
    return weight_NxQxT @ value_NxTxD


def _gathered_backward(kept: tuple[Array, Array], change_NxQxD: Array) -> tuple[Array, Array]:
    weight_NxQxT, value_NxTxD = kept
    return change_NxQxD @ jnp.swapaxes(value_NxTxD, 1, 2), _turned(weight_NxQxT) @ change_NxQxD


def _turned(a_NxQxT: Array) -> Array:
    """The last two axes exchanged; in memory on a CPU, where XLA's product of matrices that it turns itself takes twice as long."""
    turned_NxTxQ = jnp.swapaxes(a_NxQxT, 1, 2)
    return jax.lax.optimization_barrier(turned_NxTxQ) if jax.default_backend() == "cpu" else turned_NxTxQ


_compared.defvjp(lambda query, key: (_compared(query, key), (query, key)), _compared_backward)
_gathered.defvjp(lambda weight, value: (_gathered(weight, value), (weight, value)), _gathered_backward)


def pool(value_BxTxHxD: Array, logits_BxTxH: Array, mask_BxT: Array) -> tuple[Array, Array]:
    """Weighted mean over the valid bins, each of H heads with its own weights. Returns pooled_BxHxD and weight_BxHxT."""
    weight_BxHxT = masked_softmax(jnp.swapaxes(logits_BxTxH, 1, 2), mask_BxT[:, None, :])
    pooled_BxHxD = jnp.einsum("bht,bthd->bhd", weight_BxHxT.astype(value_BxTxHxD.dtype), value_BxTxHxD)
    return pooled_BxHxD, weight_BxHxT


def distance_slopes(n_heads: int) -> Array:
    """Slope of each head's penalty on distance in time, 2^(−8h/H) for h = 1…H (ALiBi, arXiv 2108.12409, section 3)."""
    return 2.0 ** (-8.0 * jnp.arange(1, n_heads + 1, dtype=jnp.float32) / n_heads)


def relative_bias(table_Hx2R: Array, n_query: int, n_key: int) -> Array:
    """bias_HxQxT[h, i, j] = table[h, j − i + n_query − 1]: one learned number for each offset in bins.

    A product with ones and zeros, because a look-up's gradient is a scatter, whose sums a GPU takes in any order.
    """
    offset_QxT = np.arange(n_key)[None, :] - np.arange(n_query)[:, None] + (n_query - 1)
    place_RxQxT = np.arange(table_Hx2R.shape[1])[:, None, None] == offset_QxT
    return jnp.einsum("hr,rqt->hqt", table_Hx2R, place_RxQxT.astype(table_Hx2R.dtype), precision="highest")
