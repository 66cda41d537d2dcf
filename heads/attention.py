"""Attention: masked softmax, scaled dot products and pooling as pure functions, and two thin Flax modules on them."""

# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

Array = Any

_FAR = -1e9
"""Used as −infinity in masked logits; finite, so that rows without a valid key keep finite gradients."""

_LEAST_VARIANCE = 1e-4
"""Added to variances: the square root of 0 has no derivative. Tokens are of standardised features."""

KERNEL = nn.initializers.variance_scaling(1.0, "fan_in", "uniform")
"""LeCun initialisation; a uniform distribution compiles faster than a truncated normal."""


def masked_softmax(logits: Array, mask: Array) -> Array:
    """Softmax over the last axis among the keys where `mask` (broadcastable) is true, float32; all 0 where no key is valid."""
    weight = _softmax(jnp.where(mask, logits.astype(jnp.float32), jnp.float32(_FAR)))
    return weight * jnp.any(mask, axis=-1, keepdims=True).astype(jnp.float32)


@jax.custom_jvp
def _softmax(logits: Array) -> Array:
    return jax.nn.softmax(logits, axis=-1)


@_softmax.defjvp
def _softmax_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    """Derivative from softmax's result. JAX's own derivative of the quotient took three times as long here."""
    weight, tangent = _softmax(*primals), tangents[0]
    return weight, weight * (tangent - jnp.sum(weight * tangent, axis=-1, keepdims=True))


def dot_product_attention(
    query_BxHxQxD: Array, key_BxHxTxD: Array, value_BxHxTxD: Array, mask_BxT: Array, bias_HxQxT: Array
) -> tuple[Array, Array]:
    """Softmax(q·k/√D + bias)·v over the valid keys.

    Returns out_BxHxQxD in the values' dtype and weight_BxHxQxT in float32. Rows and heads form one batch axis of two
    batched products: on CPUs this takes two thirds of the time of products with two batch axes.
    """
    n, heads, n_query, depth = query_BxHxQxD.shape
    query, key, value = (x.reshape(n * heads, *x.shape[2:]) for x in (query_BxHxQxD, key_BxHxTxD, value_BxHxTxD))
    logits = _query_key(query * depth**-0.5, key)
    logits_BxHxQxT = logits.astype(jnp.float32).reshape(n, heads, n_query, -1) + bias_HxQxT.astype(jnp.float32)[None]
    weight_BxHxQxT = masked_softmax(logits_BxHxQxT, mask_BxT[:, None, None, :])
    out = _weighted_values(weight_BxHxQxT.astype(value.dtype).reshape(n * heads, n_query, -1), value)
    return out.reshape(n, heads, n_query, depth), weight_BxHxQxT


@jax.custom_vjp
def _query_key(query_NxQxD: Array, key_NxTxD: Array) -> Array:
    return query_NxQxD @ jnp.swapaxes(key_NxTxD, 1, 2)


def _query_key_backward(saved: tuple[Array, Array], cotangent_NxQxT: Array) -> tuple[Array, Array]:
    query_NxQxD, key_NxTxD = saved
    return cotangent_NxQxT @ key_NxTxD, _transposed(cotangent_NxQxT) @ query_NxQxD


@jax.custom_vjp
def _weighted_values(weight_NxQxT: Array, value_NxTxD: Array) -> Array:
    return weight_NxQxT @ value_NxTxD


def _weighted_values_backward(saved: tuple[Array, Array], cotangent_NxQxD: Array) -> tuple[Array, Array]:
    weight_NxQxT, value_NxTxD = saved
    return cotangent_NxQxD @ jnp.swapaxes(value_NxTxD, 1, 2), _transposed(weight_NxQxT) @ cotangent_NxQxD


def _transposed(a_NxQxT: Array) -> Array:
    """Swap the last two axes. On a CPU the result is written to memory: XLA's product with an implicit transpose takes twice as long."""
    transposed_NxTxQ = jnp.swapaxes(a_NxQxT, 1, 2)
    return jax.lax.optimization_barrier(transposed_NxTxQ) if jax.default_backend() == "cpu" else transposed_NxTxQ


_query_key.defvjp(lambda query, key: (_query_key(query, key), (query, key)), _query_key_backward)
_weighted_values.defvjp(
    lambda weight, value: (_weighted_values(weight, value), (weight, value)), _weighted_values_backward
)


def pool(value_BxTxHxD: Array, logits_BxTxH: Array, mask_BxT: Array) -> tuple[Array, Array]:
    """Weighted mean over the valid bins; each of H heads has its own weights. Returns pooled_BxHxD and weight_BxHxT."""
    weight_BxHxT = masked_softmax(jnp.swapaxes(logits_BxTxH, 1, 2), mask_BxT[:, None, :])
    pooled_BxHxD = jnp.einsum("bht,bthd->bhd", weight_BxHxT.astype(value_BxTxHxD.dtype), value_BxTxHxD)
    return pooled_BxHxD, weight_BxHxT


def distance_slopes(n_heads: int) -> Array:
    """Slope of each head's penalty on temporal distance, 2^(−8h/H) for h = 1…H (ALiBi, arXiv 2108.12409, section 3)."""
    return 2.0 ** (-8.0 * jnp.arange(1, n_heads + 1, dtype=jnp.float32) / n_heads)


def relative_bias(table_Hx2R: Array, n_query: int, n_key: int) -> Array:
    """bias_HxQxT[h, i, j] = table[h, j − i + n_query − 1]: one learned number per offset in bins.

    Computed as a product with a one-hot matrix: the gradient of a look-up is a scatter, which a GPU sums in any order.
    """
    offset_QxT = np.arange(n_key)[None, :] - np.arange(n_query)[:, None] + (n_query - 1)
    one_hot_RxQxT = np.arange(table_Hx2R.shape[1])[:, None, None] == offset_QxT
    return jnp.einsum("hr,rqt->hqt", table_Hx2R, one_hot_RxQxT.astype(table_Hx2R.dtype), precision="highest")


class Tokens(NamedTuple):
    """One modality after the input projection: token_BxTxH and its mask."""

    token_BxTxH: Array
    mask_BxT: Array


class Pooling(nn.Module):
    """Attention pooling over bins; at initialisation it is the masked mean.

    spread: also the weighted standard deviation of each channel over bins, as in attentive statistics pooling (Okabe et
    al., Interspeech 2018, arXiv 1803.10963, section 3).
    """

    n_heads: int
    spread: bool = False

    @nn.compact
    def __call__(self, tokens: Tokens) -> tuple[Array, Array]:
        """Returns pooled_BxH, or pooled_Bx2H with the spread, and weight_BxHxT."""
        n, t, width = tokens.token_BxTxH.shape
        logits_BxTxH = nn.Dense(self.n_heads, use_bias=False, kernel_init=nn.initializers.zeros)(tokens.token_BxTxH)
        split_BxTxHxD = tokens.token_BxTxH.reshape(n, t, self.n_heads, width // self.n_heads)
        pooled_BxHxD, weight_BxHxT = pool(split_BxTxHxD, logits_BxTxH, tokens.mask_BxT)
        pooled = [pooled_BxHxD.reshape(n, width)]
        if self.spread:
            away_BxTxHxD = split_BxTxHxD - pooled_BxHxD[:, None]
            weights = weight_BxHxT.astype(away_BxTxHxD.dtype)
            variance_BxHxD = jnp.einsum("bht,bthd->bhd", weights, away_BxTxHxD * away_BxTxHxD)
            pooled.append(jnp.sqrt(variance_BxHxD + _LEAST_VARIANCE).reshape(n, width))
        return jnp.concatenate(pooled, axis=-1), weight_BxHxT


class CrossAttention(nn.Module):
    """Cross-attention in both directions on the common time grid; the result is added to the tokens.

    Queries, keys and values of one modality are one matrix product.
    """

    n_heads: int

    @nn.compact
    def __call__(self, audio: Tokens, midi: Tokens) -> tuple[Tokens, Tokens, Array, Array]:
        """Returns both modalities' updated tokens, and weight_BxHxTxT of audio queries on MIDI and of MIDI queries on audio."""
        audio_qkv, midi_qkv = self._split(audio, "audio"), self._split(midi, "midi")
        audio_update, to_midi = self._attend("audio_to_midi", audio_qkv[0], midi_qkv[1], midi_qkv[2], midi.mask_BxT)
        midi_update, to_audio = self._attend("midi_to_audio", midi_qkv[0], audio_qkv[1], audio_qkv[2], audio.mask_BxT)
        updated_audio = Tokens(audio.token_BxTxH + audio_update, audio.mask_BxT)
        return updated_audio, Tokens(midi.token_BxTxH + midi_update, midi.mask_BxT), to_midi, to_audio

    def _split(self, tokens: Tokens, name: str) -> tuple[Array, ...]:
        """Queries, keys and values, each (B, H, T, D)."""
        n, t, width = tokens.token_BxTxH.shape
        qkv = nn.Dense(3 * width, use_bias=False, kernel_init=KERNEL, name=name)(tokens.token_BxTxH)
        split = (part.reshape(n, t, self.n_heads, width // self.n_heads) for part in jnp.split(qkv, 3, axis=-1))
        return tuple(jnp.swapaxes(part, 1, 2) for part in split)

    def _attend(self, name: str, query: Array, key: Array, value: Array, mask_BxT: Array) -> tuple[Array, Array]:
        n, _, n_query, _ = query.shape
        n_key = key.shape[2]

        def init_offsets(_: Array, shape: tuple[int, int], dtype: Any = jnp.float32) -> Array:
            offset = jnp.abs(jnp.arange(shape[1], dtype=dtype) - (n_query - 1))
            return -distance_slopes(shape[0])[:, None] * offset[None, :]

        table = self.param(f"{name}_offset", init_offsets, (self.n_heads, n_query + n_key - 1))
        bias = relative_bias(table, n_query, n_key)
        out_BxHxQxD, weight_BxHxQxT = dot_product_attention(query, key, value, mask_BxT, bias)
        return jnp.swapaxes(out_BxHxQxD, 1, 2).reshape(n, n_query, -1), weight_BxHxQxT
