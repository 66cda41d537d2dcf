"""Contrastive losses between audio and MIDI embeddings: symmetric InfoNCE and SigLIP's sigmoid loss.

Row i of both modalities is a true pair. Variants of one segment are hard negatives on purpose: each has its own true
pair, and telling them apart is where quality lives. Left out are pairs that are no honest negatives (`excluded_pairs`).
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from keybed.heads.inputs import HeadInput

Array = Any

_FAR = -1e9
MIN_TEMPERATURE = 0.01
MAX_TEMPERATURE = 1.0
"""The clamp on InfoNCE's learned temperature; CLIP's own is 0.01 from below (arXiv 2103.00020, section 2.5)."""


def normalise(x_BxD: Array) -> Array:
    """Rows on the unit sphere, float32; a zero row stays zero with finite gradients."""
    x_BxD = x_BxD.astype(jnp.float32)
    return x_BxD * jax.lax.rsqrt(jnp.sum(x_BxD**2, axis=-1, keepdims=True) + 1e-12)


def clamped_temperature(log_temperature: Array) -> Array:
    """The temperature, kept within its clamp; outside it the gradient is zero."""
    return jnp.clip(jnp.exp(log_temperature), MIN_TEMPERATURE, MAX_TEMPERATURE)


def info_nce(audio_BxD: Array, midi_BxD: Array, log_temperature: Array, excluded_BxB: Array, weight_B: Array) -> Array:
    """Symmetric InfoNCE on unit vectors: mean of −log softmax(cos/τ) of the true pair, both directions (CLIP, figure 3).

    excluded_BxB[i, j]: audio i and MIDI j are no negatives of each other (the diagonal is ignored). Rows of weight 0
    are neither anchors nor negatives.
    """
    logits = audio_BxD @ midi_BxD.T / clamped_temperature(log_temperature)
    true_BxB = jnp.eye(logits.shape[0], dtype=bool)
    real_B = weight_B > 0
    counted = (true_BxB | ~excluded_BxB) & real_B[:, None] & real_B[None, :]
    logits = jnp.where(counted, logits, _FAR)
    own_B = jnp.diagonal(logits)
    loss_B = 0.5 * (jax.nn.logsumexp(logits, axis=1) + jax.nn.logsumexp(logits, axis=0)) - own_B
    loss_B = jnp.where(real_B, loss_B, 0.0)
    return jnp.sum(loss_B * weight_B) / jnp.maximum(jnp.sum(weight_B), 1e-6)


def siglip(
    audio_BxD: Array, midi_BxD: Array, log_temperature: Array, bias: Array, excluded_BxB: Array, weight_B: Array
) -> Array:
    """SigLIP: every pair is its own yes-or-no question, −log σ(±(cos/τ + bias)) summed over pairs, per row
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
    """excluded_BxB: no honest negatives. NumPy, on the host.

    Two rows exclude each other where they are windows of one recording, of different segments, that overlap in time,
    or where their audio or their MIDI features are equal bit for bit.
    """
    recording, start = np.asarray(batch.recording_B), np.asarray(batch.start_s_B)
    segment = np.asarray(batch.segment_B)
    near = np.abs(start[:, None] - start[None, :]) < window_s
    overlap = (recording[:, None] == recording[None, :]) & (segment[:, None] != segment[None, :]) & near
    audio, midi = _identity(np.asarray(batch.audio_BxTxC)), _identity(np.asarray(batch.midi_BxTxC))
    excluded = overlap | (audio[:, None] == audio[None, :]) | (midi[:, None] == midi[None, :])
    np.fill_diagonal(excluded, False)
    return excluded


def _identity(features: NDArray) -> NDArray[np.int64]:
    """One number a row, equal where the rows' bytes are."""
    numbers: dict[bytes, int] = {}
    return np.array([numbers.setdefault(row.tobytes(), len(numbers)) for row in features], np.int64)


def pair_cosine(audio_BxD: NDArray, midi_BxD: NDArray) -> NDArray[np.float64]:
    """cos_B of each row's own pair: the alignment is its mean."""
    a, m = np.asarray(audio_BxD, np.float64), np.asarray(midi_BxD, np.float64)
    norm = np.linalg.norm(a, axis=1) * np.linalg.norm(m, axis=1)
    return np.sum(a * m, axis=1) / np.maximum(norm, 1e-12)
