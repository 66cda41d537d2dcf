"""The tensors of a Toy checkpoint: their names in the file and in the model, and their shapes. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from keybed.extract.encoders.checkpoint import Shape, linear, unwrapped

OPTIONAL = ()
"""Tensors that a checkpoint may have or lack."""

T = TypeVar("T")


def own(tensors: Mapping[str, T]) -> dict[str, T]:
    """The model's tensors by the model's names, without those of training."""
    return {unwrapped(name): tensor for name, tensor in tensors.items() if not name.startswith("head.")}


def shapes(architecture: dict[str, Any], tensors: Mapping[str, Any]) -> dict[str, Shape]:
    """Every tensor that the model needs."""
    width = architecture["hidden_size"]
    wanted = linear("input", architecture["hop_length"], width)
    for layer in range(architecture["num_hidden_layers"]):
        wanted |= linear(f"layers.{layer}", width, width)
    return {name: Shape(shape) for name, shape in wanted.items()}
