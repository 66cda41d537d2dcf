"""The tensors of a MuQ checkpoint: their names in the file and in the model, and their shapes. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from keybed.extract.encoders.checkpoint import Shape, linear, norm, unwrapped

_UNUSED = ("cls_token", "linear.", "rvq.", "conformer.pos_conv_embed.")
"""Tensors of a checkpoint that the states do not need. The authors' code builds the positional convolution and never
calls it."""
RATES = "conformer.embed_positions.inv_freq"
OPTIONAL = (RATES,)
"""Computed where a checkpoint lacks it."""

T = TypeVar("T")


def own(tensors: Mapping[str, T]) -> dict[str, T]:
    """The model's tensors by the model's names, without those of training."""
    names = {unwrapped(name): tensor for name, tensor in tensors.items()}
    return {
        name: tensor
        for name, tensor in names.items()
        if not name.startswith(_UNUSED) and not name.endswith("num_batches_tracked")
    }


def shapes(architecture: dict[str, Any], tensors: Mapping[str, Any]) -> dict[str, Shape]:
    """Every tensor that the model needs."""
    width, inner, channels = (architecture[key] for key in ("hidden_size", "intermediate_size", "conv_dim"))
    wanted: dict[str, tuple[int, ...]] = {}
    for stage, before in enumerate((1, channels)):
        here = f"conv.conv.{stage}"
        for part, width_in in (("1", before), ("2", channels), ("3", before)):
            wanted[f"{here}.conv{part}.weight"] = (channels, width_in, 3, 3)
            wanted[f"{here}.conv{part}.bias"] = (channels,)
            wanted |= _batch_norm(f"{here}.bn{part}", channels)
    wanted |= linear("conv.linear", channels * -(-architecture["n_mels"] // 4), width)
    wanted[RATES] = (width // architecture["num_attention_heads"] // 2,)
    for layer in range(architecture["num_hidden_layers"]):
        here = f"conformer.layers.{layer}"
        for part in ("ffn1", "ffn2"):
            wanted |= norm(f"{here}.{part}_layer_norm", width)
            wanted |= linear(f"{here}.{part}.intermediate_dense", width, inner)
            wanted |= linear(f"{here}.{part}.output_dense", inner, width)
        for part in ("q", "k", "v", "out"):
            wanted |= linear(f"{here}.self_attn.linear_{part}", width, width)
        convolution = f"{here}.conv_module"
        for name in (f"{here}.self_attn_layer_norm", f"{here}.final_layer_norm", f"{convolution}.layer_norm"):
            wanted |= norm(name, width)
        wanted[f"{convolution}.pointwise_conv1.weight"] = (2 * width, width, 1)
        wanted[f"{convolution}.depthwise_conv.weight"] = (width, 1, architecture["conv_depthwise_kernel_size"])
        wanted |= _batch_norm(f"{convolution}.batch_norm", width)
        wanted[f"{convolution}.pointwise_conv2.weight"] = (width, width, 1)
    wanted |= norm("conformer.layer_norm", width)
    return {name: Shape(shape) for name, shape in wanted.items()}


def _batch_norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.{leaf}": (width,) for leaf in ("weight", "bias", "running_mean", "running_var")}
