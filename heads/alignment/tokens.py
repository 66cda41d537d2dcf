"""Shared and private tokens: queries that attend over a row's bins; shared tokens are aligned, private ones are not.

Shared queries are one set for both modalities, as in MA-AVT (Mahmud et al., arXiv 2406.04930, section 3.2), and the clip
vector is their mean. Private tokens read a projection of their own, so that the alignment cannot reach them: what one
modality alone knows stays there. Later heads read both kinds, side by side in the channels of one token.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from keybed.heads.attention import KERNEL, masked_softmax
from keybed.heads.inputs import MODALITIES

Array = Any
Tree = Any


def init_tokens(key: Array, n_tokens: int, width: int) -> Tree:
    """Queries (n_tokens, width) and key matrices, float32: shared ones, and private ones by modality."""
    keys = iter(jax.random.split(key, 8))

    def query() -> Array:
        return jax.random.normal(next(keys), (n_tokens, width), jnp.float32)

    def key_matrix() -> Array:
        return KERNEL(next(keys), (width, width), jnp.float32)

    tree: dict[str, Any] = {"shared_query": query()}
    for m in MODALITIES:
        tree[m] = {"shared_key": key_matrix(), "private_query": query(), "private_key": key_matrix()}
    return tree


def attend(query_NxD: Array, key_DxD: Array, frame_BxTxD: Array, mask_BxT: Array) -> Array:
    """token_BxNxD: softmax(q·Kx/√D) over the valid bins, times the bins; 0 for a row without any."""
    logits_BxNxT = jnp.einsum("nd,btd->bnt", query_NxD, frame_BxTxD @ key_DxD) / query_NxD.shape[1] ** 0.5
    weight_BxNxT = masked_softmax(logits_BxNxT, mask_BxT[:, None, :])
    return jnp.einsum("bnt,btd->bnd", weight_BxNxT, frame_BxTxD)


def shared_and_private(
    params: Mapping[str, Tree], modality: str, shared_BxTxD: Array, private_BxTxD: Array, mask_BxT: Array
) -> tuple[Array, Array]:
    """shared_BxNxD and private_BxNxD of one modality."""
    own = params[modality]
    shared = attend(params["shared_query"], own["shared_key"], shared_BxTxD, mask_BxT)
    return shared, attend(own["private_query"], own["private_key"], private_BxTxD, mask_BxT)
