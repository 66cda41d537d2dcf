"""Contrastive losses between audio and MIDI embeddings: symmetric InfoNCE and SigLIP's sigmoid loss.

Row i of both modalities is a true pair. Variants of one segment are hard negatives on purpose: they differ in quality alone.
`excluded_pairs` lists the pairs that are not negatives.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from keybed.heads.inputs import HeadInput

Array = Any

FAR = -1e9
"""Stands for −infinity in logits that are left out; finite, so that gradients stay finite."""
MIN_TEMPERATURE = 0.01
MAX_TEMPERATURE = 1.0
"""Bounds of InfoNCE's learned temperature; the lower one is CLIP's (arXiv 2103.00020, section 2.5)."""


def normalise(x_BxD: Array) -> Array:
    """Rows at length 1, float32; a zero row stays zero and has finite gradients."""
    x_BxD = x_BxD.astype(jnp.float32)
    return x_BxD * jax.lax.rsqrt(jnp.sum(x_BxD**2, axis=-1, keepdims=True) + 1e-12)


def clamped_temperature(log_temperature: Array) -> Array:
    """The temperature within its bounds; outside them the gradient is zero."""
    return jnp.clip(jnp.exp(log_temperature), MIN_TEMPERATURE, MAX_TEMPERATURE)


def info_nce(
    audio_BxD: Array, midi_BxD: Array, log_temperature: Array, excluded_BxB: Array, weight_B: Array, beta: float = 0.0
) -> Array:
    """Symmetric InfoNCE on unit vectors: mean of −log softmax(cos/τ) of the true pair, both directions (CLIP, figure 3).

    excluded_BxB[i, j]: audio i and MIDI j are not negatives of each other (the diagonal is ignored). Rows of weight 0
    are neither anchors nor negatives. beta: hard negatives count more (`hard_negative_weights`); 0: all count 1.
    """
    logits = audio_BxD @ midi_BxD.T / clamped_temperature(log_temperature)
    true_BxB = jnp.eye(logits.shape[0], dtype=bool)
    real_B = weight_B > 0
    counted = (true_BxB | ~excluded_BxB) & real_B[:, None] & real_B[None, :]
    logits = jnp.where(counted, logits, FAR)
    own_B = jnp.diagonal(logits)
    rows, columns = logits, logits.T
    if beta:
        rows = rows + jnp.log(hard_negative_weights(rows, counted, beta))
        columns = columns + jnp.log(hard_negative_weights(columns, counted.T, beta))
    loss_B = 0.5 * (jax.nn.logsumexp(rows, axis=1) + jax.nn.logsumexp(columns, axis=1)) - own_B
    loss_B = jnp.where(real_B, loss_B, 0.0)
    return jnp.sum(loss_B * weight_B) / jnp.maximum(jnp.sum(weight_B), 1e-6)


def hard_negative_weights(logits_BxB: Array, counted_BxB: Array, beta: float) -> Array:
    """w_ij = (n_i − 1)·exp(β s_ij) / Σ_{k≠j} exp(β s_ik), and 1 on the diagonal (MGA-CLAP, Li et al., ACM MM 2024, eq. 5).

    The sum runs over the n_i counted pairs of row i. Pairs that are not counted get 1.
    """
    true_BxB = jnp.eye(logits_BxB.shape[0], dtype=bool)
    scaled = jnp.where(counted_BxB, beta * logits_BxB, FAR)
    power = jnp.exp(scaled - jnp.max(scaled, axis=1, keepdims=True))
    others = jnp.sum(power, axis=1, keepdims=True) - power
    n_others = jnp.maximum(jnp.sum(counted_BxB, axis=1, keepdims=True) - 1, 1).astype(jnp.float32)
    weight = n_others * power / jnp.maximum(others, 1e-6)
    return jnp.where(counted_BxB & ~true_BxB, jnp.maximum(weight, 1e-6), 1.0)


def siglip(
    audio_BxD: Array, midi_BxD: Array, log_temperature: Array, bias: Array, excluded_BxB: Array, weight_B: Array
) -> Array:
    """SigLIP: binary logistic loss of every pair, −log σ(±(cos/τ + bias)), summed over pairs, per row
    (arXiv 2303.15343, algorithm 1). Masks as in `info_nce`.
    """
    logits = audio_BxD @ midi_BxD.T / clamped_temperature(log_temperature) + bias
    true_BxB = jnp.eye(logits.shape[0], dtype=bool)
    real_B = weight_B > 0
    counted = (true_BxB | ~excluded_BxB) & real_B[:, None] & real_B[None, :]
    sign = jnp.where(true_BxB, jnp.float32(1.0), jnp.float32(-1.0))
    loss = jnp.where(counted, jax.nn.softplus(-sign * logits), 0.0)
    return jnp.sum(loss * weight_B[:, None]) / jnp.maximum(jnp.sum(weight_B), 1e-6)


def excluded_pairs(batch: HeadInput, window_s: float) -> NDArray[np.bool_]:
    """bool excluded_BxB: pairs that are not negatives. NumPy, on the host. window_s: window length in seconds.

    Two rows exclude each other where they are overlapping windows of different segments of one recording, or where their
    audio or MIDI features are equal bit for bit.
    """
    recording, start = np.asarray(batch.recording_B), np.asarray(batch.start_s_B)
    segment = np.asarray(batch.segment_B)
    near = np.abs(start[:, None] - start[None, :]) < window_s
    overlap = (recording[:, None] == recording[None, :]) & (segment[:, None] != segment[None, :]) & near
    audio, midi = _row_identity(np.asarray(batch.audio_BxTxC)), _row_identity(np.asarray(batch.midi_BxTxC))
    excluded = overlap | (audio[:, None] == audio[None, :]) | (midi[:, None] == midi[None, :])
    np.fill_diagonal(excluded, False)
    return excluded


def identity(features_BxTxC: NDArray) -> NDArray[np.uint64]:
    """number_BxT: bins with equal bytes get equal numbers; others differ but for a chance of about 2⁻⁶⁴ each."""
    bits = np.ascontiguousarray(features_BxTxC).view(f"u{features_BxTxC.dtype.itemsize}")
    factor_C = np.random.default_rng(0).integers(1, 2**64, bits.shape[2], np.uint64) | np.uint64(1)
    return np.asarray((bits.astype(np.uint64) * factor_C).sum(axis=2), np.uint64)


def _row_identity(features: NDArray) -> NDArray[np.int64]:
    """One number per row; rows with equal bytes get equal numbers."""
    numbers: dict[bytes, int] = {}
    return np.array([numbers.setdefault(row.tobytes(), len(numbers)) for row in features], np.int64)
