"""The tensors of a MERT checkpoint: their names in the file and in the model, and their shapes. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from keybed.extract.encoders.checkpoint import Shape, linear, norm, unwrapped

POSITION = "encoder.pos_conv_embed.conv"
NORM, DIRECTION = (f"{POSITION}.parametrizations.weight.{part}" for part in ("original0", "original1"))
"""Weight norm: the weight is the direction, scaled to this norm per tap."""
FOLDED = f"{POSITION}.weight"
"""In checkpoints that were saved after the weight norm was removed."""
_LEGACY = {f"{POSITION}.weight_g": NORM, f"{POSITION}.weight_v": DIRECTION}
OPTIONAL: tuple[str, ...] = ()

T = TypeVar("T")


def own(tensors: Mapping[str, T]) -> dict[str, T]:
    """The model's tensors by the model's names; a folded weight keeps its own."""
    names = {unwrapped(name, "hubert."): tensor for name, tensor in tensors.items()}
    # SpecAugment uses this vector in training only.
    return {_LEGACY.get(name, name): tensor for name, tensor in names.items() if name != "masked_spec_embed"}


def shapes(architecture: dict[str, Any], tensors: Mapping[str, Any]) -> dict[str, Shape]:
    """Every tensor that the model needs; the folded weight in place of the weight norm's two where `tensors` has it."""
    width, inner = architecture["hidden_size"], architecture["intermediate_size"]
    channels = architecture["conv_dim"]
    wanted = norm("feature_extractor.conv_layers.0.layer_norm", channels[0])
    for layer, (before, after, kernel) in enumerate(
        zip([1, *channels[:-1]], channels, architecture["conv_kernel"], strict=True)
    ):
        wanted[f"feature_extractor.conv_layers.{layer}.conv.weight"] = (after, before, kernel)
    if architecture["feat_proj_layer_norm"]:
        wanted |= norm("feature_projection.layer_norm", channels[-1])
    wanted |= linear("feature_projection.projection", channels[-1], width)
    n_taps, n_groups = (architecture[f"num_conv_pos_embedding{end}"] for end in ("s", "_groups"))
    position = (width, width // n_groups, n_taps)
    wanted[f"{POSITION}.bias"] = (width,)
    wanted |= {FOLDED: position} if FOLDED in tensors else {NORM: (1, 1, n_taps), DIRECTION: position}
    wanted |= norm("encoder.layer_norm", width)
    for layer in range(architecture["num_hidden_layers"]):
        here = f"encoder.layers.{layer}"
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            wanted |= linear(f"{here}.attention.{part}", width, width)
        wanted |= norm(f"{here}.layer_norm", width) | norm(f"{here}.final_layer_norm", width)
        wanted |= linear(f"{here}.feed_forward.intermediate_dense", width, inner)
        wanted |= linear(f"{here}.feed_forward.output_dense", inner, width)
    return {name: Shape(shape) for name, shape in wanted.items()}
