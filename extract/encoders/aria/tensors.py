"""The tensors of an Aria checkpoint: their names in the file and in the model, and their shapes. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from keybed.extract.encoders.checkpoint import Shape, unwrapped

_UNUSED = ("lm_head.weight",)
"""The base model's head, which predicts the next token."""
HEAD = "emb_head.weight"
OPTIONAL = (HEAD,)
"""Only in checkpoints of the embedding model."""

T = TypeVar("T")


def own(tensors: Mapping[str, T]) -> dict[str, T]:
    """The model's tensors by the model's names."""
    names = {unwrapped(name): tensor for name, tensor in tensors.items()}
    return {name: tensor for name, tensor in names.items() if name not in _UNUSED}


def shapes(architecture: dict[str, Any], tensors: Mapping[str, Any]) -> dict[str, Shape]:
    """Every tensor that the model needs."""
    width, inner = architecture["hidden_size"], architecture["intermediate_size"]
    wanted: dict[str, tuple[int, ...]] = {"tok_embeddings.weight": (architecture["vocab_size"], width)}
    for layer in range(architecture["num_hidden_layers"]):
        here = f"encode_layers.{layer}"
        wanted |= {f"{here}.norm{number}.{leaf}": (width,) for number in (1, 2) for leaf in ("weight", "bias")}
        wanted |= {f"{here}.mixed_qkv.weight": (3 * width, width), f"{here}.att_proj_linear.weight": (width, width)}
        wanted |= {f"{here}.ff_{part}_proj.weight": (inner, width) for part in ("gate", "up")}
        wanted[f"{here}.ff_down_proj.weight"] = (width, inner)
    wanted |= {f"out_layer_norm.{leaf}": (width,) for leaf in ("weight", "bias")}
    return {name: Shape(shape) for name, shape in wanted.items()}
