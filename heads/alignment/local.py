"""Local contrast: a time bin of one modality against bins of the other, InfoNCE in both directions.

The positive of bin t is the same bin of the same row. Negatives are bins of the row more than one bin away, and bin t of
the segment's other variants. A negative whose features equal the positive's bit for bit, in either modality, is left out:
where two variants play the same in a bin, nothing tells them apart.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from keybed.heads.contrast import FAR, identity, normalise
from keybed.heads.inputs import MODALITIES, HeadInput

Array = Any

TEMPERATURE = 0.1
NEAR = 1
"""Bins at most this far from the positive are no negatives: notes and their sound cross the borders of bins."""
REACH = 3
"""A segment's four variants lie at most this many rows apart."""


class LocalNegatives(NamedTuple):
    """Which bins are negatives, from the host. N: the 2 × REACH rows around a row.

    within_BxTxT[b, t, u]: bin u of row b is a negative of its bin t. sibling_NxBxT[n, b, t]: bin t of the row `SHIFTS[n]`
    places on is one.
    """

    within_BxTxT: Array
    sibling_NxBxT: Array


SHIFTS = tuple(s for s in range(-REACH, REACH + 1) if s)


def local_negatives(batch: HeadInput) -> LocalNegatives:
    """Find them for a batch whose segments lie together. NumPy, on the host."""
    same_bin = [identity(np.asarray(getattr(batch, f"{m}_BxTxC"))) for m in MODALITIES]
    n, n_bins = same_bin[0].shape
    segment, real_B = np.asarray(batch.segment_B), np.asarray(batch.weight_B) > 0
    far = np.abs(np.arange(n_bins)[:, None] - np.arange(n_bins)) > NEAR
    within = np.broadcast_to(far, (n, n_bins, n_bins)).copy()
    for ids_BxT in same_bin:
        within &= ids_BxT[:, :, None] != ids_BxT[:, None, :]
    sibling = np.zeros((len(SHIFTS), n, n_bins), bool)
    for i, shift in enumerate(SHIFTS):
        here = np.arange(max(0, -shift), n - max(0, shift))
        there = here + shift
        row_B = (segment[here] == segment[there]) & (segment[here] >= 0) & real_B[here] & real_B[there]
        differs = np.logical_and.reduce([ids_BxT[here] != ids_BxT[there] for ids_BxT in same_bin])
        sibling[i, here] = differs & row_B[:, None]
    return LocalNegatives(within, sibling)


def local_loss(
    audio_BxTxD: Array,
    midi_BxTxD: Array,
    audio_mask_BxT: Array,
    midi_mask_BxT: Array,
    negatives: LocalNegatives,
    weight_B: Array,
) -> Array:
    """Mean over the bins that both modalities have, both directions; a row weighs `weight_B`, and 0 leaves it out."""
    audio, midi = normalise(audio_BxTxD), normalise(midi_BxTxD)
    both_BxT = audio_mask_BxT & midi_mask_BxT & (weight_B > 0)[:, None]
    similar_BxTxT = jnp.einsum("btd,bud->btu", audio, midi) / TEMPERATURE
    own_BxT = jnp.diagonal(similar_BxTxT, axis1=1, axis2=2)
    within_BxTxT = negatives.within_BxTxT
    loss_BxT = 0.5 * (
        _against(own_BxT, similar_BxTxT, within_BxTxT, audio, midi, midi_mask_BxT, negatives)
        + _against(own_BxT, jnp.swapaxes(similar_BxTxT, 1, 2), within_BxTxT, midi, audio, audio_mask_BxT, negatives)
    )
    weight_BxT = jnp.where(both_BxT, weight_B[:, None], 0.0)
    return jnp.sum(jnp.where(both_BxT, loss_BxT, 0.0) * weight_BxT) / jnp.maximum(jnp.sum(weight_BxT), 1e-6)


def _against(
    own_BxT: Array,
    similar_BxTxT: Array,
    within_BxTxT: Array,
    anchor_BxTxD: Array,
    other_BxTxD: Array,
    other_mask_BxT: Array,
    negatives: LocalNegatives,
) -> Array:
    """−log softmax of each anchor bin's positive: loss_BxT."""
    logits = [own_BxT[:, :, None], jnp.where(within_BxTxT & other_mask_BxT[:, None, :], similar_BxTxT, FAR)]
    for i, shift in enumerate(SHIFTS):
        there_BxT = jnp.sum(anchor_BxTxD * jnp.roll(other_BxTxD, -shift, axis=0), axis=-1) / TEMPERATURE
        counted_BxT = negatives.sibling_NxBxT[i] & jnp.roll(other_mask_BxT, -shift, axis=0)
        logits.append(jnp.where(counted_BxT, there_BxT, FAR)[:, :, None])
    return jax.nn.logsumexp(jnp.concatenate(logits, axis=2), axis=2) - own_BxT
