"""The tensors of a MIDIBert checkpoint: their names in the file and in the model, and their shapes. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from keybed.extract.encoders.checkpoint import Shape, linear, norm, unwrapped
from keybed.extract.encoders.midibert import cp_tokens

EMBEDDING_SIZE = 256
UNUSED = (
    "bert.embeddings.word_embeddings.weight",
    "bert.embeddings.position_embeddings.weight",
    "bert.embeddings.position_ids",
    "bert.pooler.dense.weight",
    "bert.pooler.dense.bias",
)
"""Tensors of every checkpoint of the authors that the model does not use: it passes its own embeddings to BertModel."""
_HEADS = ("classifier.", "attention.ws1.", "attention.ws2.", "mask_lm.")
"""Heads that fine-tuning and pre-training add to the model."""
OPTIONAL: tuple[str, ...] = ()

T = TypeVar("T")


def own(tensors: Mapping[str, T]) -> dict[str, T]:
    """The model's tensors by the model's names, without the heads of fine-tuning and pre-training."""
    state = {unwrapped(name): tensor for name, tensor in tensors.items()}
    prefix = "midibert."
    if any(name.startswith(prefix) for name in state):
        state = {
            name.removeprefix(prefix): tensor
            for name, tensor in state.items()
            if name.startswith(prefix) or not name.startswith(_HEADS)
        }
    return {name: tensor for name, tensor in state.items() if name not in UNUSED}


def shapes(architecture: dict[str, Any], tensors: Mapping[str, Any]) -> dict[str, Shape]:
    """Every tensor that the model needs."""
    width, inner = architecture["hidden_size"], architecture["intermediate_size"]
    sizes = cp_tokens.VOCABULARY_SIZES
    wanted: dict[str, tuple[int, ...]] = {
        f"word_emb.{kind}.lut.weight": (size, EMBEDDING_SIZE) for kind, size in enumerate(sizes)
    }
    wanted |= linear("in_linear", EMBEDDING_SIZE * len(sizes), width)
    wanted["bert.embeddings.token_type_embeddings.weight"] = (2, width)
    wanted |= norm("bert.embeddings.LayerNorm", width)
    n_distances = 2 * architecture["max_position_embeddings"] - 1
    for layer in range(architecture["num_hidden_layers"]):
        here = f"bert.encoder.layer.{layer}"
        for part in ("query", "key", "value"):
            wanted |= linear(f"{here}.attention.self.{part}", width, width)
        head_width = width // architecture["num_attention_heads"]
        wanted[f"{here}.attention.self.distance_embedding.weight"] = (n_distances, head_width)
        wanted |= linear(f"{here}.attention.output.dense", width, width)
        wanted |= norm(f"{here}.attention.output.LayerNorm", width) | norm(f"{here}.output.LayerNorm", width)
        wanted |= linear(f"{here}.intermediate.dense", width, inner) | linear(f"{here}.output.dense", inner, width)
    return {name: Shape(shape) for name, shape in wanted.items()}
