"""Block-wise alignment: one InfoNCE for each hidden state of each encoder, to see at which depth the spaces meet.

MA-AVT (arXiv 2406.04930, section 3.3) pairs block with block of one shared transformer. Our two encoders have different
depths, so each state, through a linear map of its own, is contrasted with the clip vector of the other modality.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from keybed.heads.attention import KERNEL
from keybed.heads.contrast import info_nce, normalise
from keybed.heads.inputs import MODALITIES

Array = Any
Tree = Any


def init_states(key: Array, layers_BxSxC: Array, width: int) -> Tree:
    """One linear map per state: kernel (S, C, width), float32."""
    _, n_states, channels = layers_BxSxC.shape
    kernel = KERNEL(key, (channels, n_states * width), jnp.float32).reshape(channels, n_states, width)
    return {"kernel": jnp.swapaxes(kernel, 0, 1), "bias": jnp.zeros((n_states, width), jnp.float32)}


def embed_states(params: Mapping[str, Array], layers_BxSxC: Array) -> Array:
    """state_BxSxD at length 1."""
    mapped = jnp.einsum("bsc,scd->bsd", layers_BxSxC.astype(jnp.float32), params["kernel"]) + params["bias"][None]
    return normalise(mapped)


def blockwise_loss(
    states: Mapping[str, Array],
    clips: Mapping[str, Array],
    log_temperature: Array,
    excluded_BxB: Array,
    weight_B: Array,
) -> Array:
    """Mean over all states of both encoders of the InfoNCE with the other modality's clip vector."""
    losses = []
    for m, other in zip(MODALITIES, reversed(MODALITIES), strict=True):
        for s in range(states[m].shape[1]):
            losses.append(info_nce(states[m][:, s], clips[other], log_temperature, excluded_BxB, weight_B))
    return jnp.mean(jnp.stack(losses))
