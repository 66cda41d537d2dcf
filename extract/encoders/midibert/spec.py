"""Specification of MIDIBert. Imports no torch; the model is in `midibert/model.py`.

Chou et al., "MidiBERT-Piano: Large-scale Pre-training for Symbolic Music Understanding", arXiv 2107.05223. The authors
publish their checkpoints on a drive, not on the hub: give the downloaded file, or a folder with only that checkpoint.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Unpack

from keybed.extract.encoders import pooling, weights
from keybed.extract.encoders.errors import WeightsRefused
from keybed.extract.encoders.midibert import cp_tokens
from keybed.extract.encoders.pretrained import CommonOptions, Pretrained
from keybed.store.format.recipe import EncoderSpec

NAME = "midibert"
CODE_VERSION = 2
CHECKPOINTS = ("*.ckpt", "*.pt", "*.pth", "pytorch_model.bin")
CONFIG = "bert_config.json"
RANDOM_SEED = 110

_BASE: dict[str, Any] = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "max_position_embeddings": 512,
    "position_embedding_type": "relative_key_query",
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "base": _BASE,
    "tiny": {**_BASE, "hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 96},
}
"""Sizes of random weights: `random` means `random:base`; `random:tiny` is for tests."""


def _read_configs(folder: Path) -> dict[str, Any]:
    config = folder / CONFIG
    return {"architecture": architecture_of(weights.read_json(NAME, config) if config.exists() else {}, folder)}


MODEL = Pretrained(NAME, "midi", CHECKPOINTS, (CONFIG,), ARCHITECTURES, RANDOM_SEED, _read_configs)


def describe(
    *, where: str, revision: str | None, window_s: float, **common: Unpack[CommonOptions]
) -> tuple[EncoderSpec, str | None]:
    """Spec of a MIDIBert checkpoint and the path of its file (None for random weights).

    The authors' checkpoints hold no configuration. The authors' architecture is assumed, unless a bert_config.json lies
    beside the checkpoint; loading compares every tensor with it. Raises WeightsRefused, WeightsUnreachable.
    """
    chosen, settings = MODEL.choose(where, revision)
    n_states = settings["architecture"]["num_hidden_layers"] + 1
    preprocessing = {
        **settings,
        "window_s": window_s,
        "ticks_per_s": cp_tokens.TICKS_PER_S,
        "tokens_version": cp_tokens.VERSION,
        "max_notes": cp_tokens.MAX_NOTES,
    }
    return MODEL.spec(
        CODE_VERSION, chosen, preprocessing, n_states=n_states, frame_states=pooling.upper_half(n_states), **common
    )


def architecture_of(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The authors' architecture with the changes of a bert_config.json.

    Raises WeightsRefused for another kind of attention, and for fewer positions than MAX_NOTES.
    """
    architecture: dict[str, Any] = {key: config.get(key, default) for key, default in _BASE.items()}
    for key in ("position_embedding_type", "hidden_act"):
        if architecture[key] != _BASE[key]:
            raise WeightsRefused(
                f"{NAME}: {folder}/{CONFIG} has {key} {architecture[key]!r}; MIDIBert is {_BASE[key]!r}, "
                f"nothing else is computed"
            )
    if architecture["max_position_embeddings"] < cp_tokens.MAX_NOTES:
        raise WeightsRefused(
            f"{NAME}: {folder}/{CONFIG} has max_position_embeddings {architecture['max_position_embeddings']}; "
            f"windows are read {cp_tokens.MAX_NOTES} notes at a time"
        )
    return architecture


def n_parameters(architecture: dict[str, Any]) -> int:
    """About how many parameters the model has: its layers, and 10 million embeddings."""
    width, inner = architecture["hidden_size"], architecture["intermediate_size"]
    return int(architecture["num_hidden_layers"] * (4 * width**2 + 2 * width * inner)) + 10_000_000
