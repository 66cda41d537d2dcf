"""Input projections of all heads: one matrix per feature and head, computed as one matrix product."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from keybed.heads.attention import KERNEL, Tokens
from keybed.heads.inputs import HeadInput

Array = Any
Params = Mapping[str, Any]


def init_dense(key: Array, n_in: int, n_out: int) -> dict[str, Array]:
    """A new linear layer: kernel (n_in, n_out) and bias (n_out,), float32."""
    return {"kernel": KERNEL(key, (n_in, n_out), jnp.float32), "bias": jnp.zeros(n_out, jnp.float32)}


def project_frames(
    modality: str, names: list[str], params: Mapping[str, Params], batch: HeadInput
) -> dict[str, Tokens]:
    """Frames of one modality as T tokens for each named head."""
    if not names:
        return {}
    x_BxTxC, mask_BxT = getattr(batch, f"{modality}_BxTxC"), getattr(batch, f"{modality}_mask_BxT")
    dense = [params[n]["project"][f"{modality}_frames"] for n in names]
    kernel_CxN = jnp.concatenate([d["kernel"] for d in dense], axis=1)
    bias_N = jnp.concatenate([d["bias"] for d in dense])
    y_BxTxN = nn.gelu(x_BxTxC @ kernel_CxN.astype(x_BxTxC.dtype) + bias_N.astype(x_BxTxC.dtype)[None, None, :])
    ends = [sum(d["bias"].shape[0] for d in dense[: i + 1]) for i in range(len(dense) - 1)]
    parts = jnp.split(y_BxTxN, ends, axis=-1)
    return {n: Tokens(part, mask_BxT) for n, part in zip(names, parts, strict=True)}


def project_layers(
    modality: str, names: list[str], params: Mapping[str, Params], batch: HeadInput
) -> dict[str, Tokens]:
    """Layers of one modality, mixed over states by a learned softmax, as one token for each named head."""
    if not names:
        return {}
    x_BxSxC = getattr(batch, f"{modality}_layers_BxSxC")
    dense = [params[n]["project"][f"{modality}_layers"] for n in names]
    mix_NxS = jax.nn.softmax(jnp.stack([d["mix"] for d in dense]), axis=-1).astype(x_BxSxC.dtype)
    mixed_BxNxC = jnp.einsum("ns,bsc->bnc", mix_NxS, x_BxSxC)
    present_Bx1 = (batch.row_B >= 0)[:, None]
    out = {}
    for i, (name, d) in enumerate(zip(names, dense, strict=True)):
        kernel, bias = d["kernel"].astype(x_BxSxC.dtype), d["bias"].astype(x_BxSxC.dtype)
        out[name] = Tokens(nn.gelu(mixed_BxNxC[:, i : i + 1] @ kernel + bias[None, None, :]), present_Bx1)
    return out
