"""Specification of Aria, from the configuration file beside its checkpoint. Imports no torch.

Bradshaw et al., "Scaling self-supervised representation learning for symbolic piano performance", arXiv 2506.23869.
Code and weights are Apache-2.0. The hub has two checkpoints of 16 layers: aria-medium-base, a language model of notes,
and aria-medium-embedding, fine-tuned to give one vector per recording. The model is in `aria/model.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Unpack

from keybed.extract.encoders import weights
from keybed.extract.encoders.aria import tokens
from keybed.extract.encoders.errors import EncoderError, WeightsRefused
from keybed.extract.encoders.pretrained import CommonOptions, Pretrained
from keybed.store.format.recipe import EncoderSpec

NAME = "aria"
CODE_VERSION = 2
DEFAULT_WEIGHTS = "loubb/aria-medium-base"
"""Not -embedding, which was trained at the token `<E>` only; frames are made of the states of notes."""
CHECKPOINTS = ("model.safetensors",)
CONFIG = "config.json"
RANDOM_SEED = 630

MAX_TOKENS = 2048
"""Longest sequence; windows with more notes are cut into slices, as the authors cut recordings."""
ROTARY_BASE = 500_000.0
LAYER_NORM_EPS = 1e-5

_MEDIUM: dict[str, Any] = {
    "hidden_size": 1536,
    "num_hidden_layers": 16,
    "num_attention_heads": 24,
    "intermediate_size": 6144,
    "max_seq_len": 8192,
    "vocab_size": tokens.VOCABULARY_SIZE,
}
"""Every entry of the configuration that changes the output, with the values of aria-medium-base."""

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "medium": _MEDIUM,
    "tiny": {
        **_MEDIUM,
        "hidden_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 96,
        "max_seq_len": 2048,
    },
}
"""Sizes of random weights: `random` means `random:medium`; `random:tiny` is for tests."""

_OWN_NAMES = {"hidden_size": "d_model", "num_hidden_layers": "n_layers", "num_attention_heads": "n_heads"}
"""Names in the authors' repository; its ff_mult is intermediate_size / hidden_size."""


def _read_configs(folder: Path) -> dict[str, Any]:
    return {"architecture": architecture_of(weights.read_json(NAME, folder / CONFIG), folder)}


MODEL = Pretrained(NAME, "midi", CHECKPOINTS, (CONFIG,), ARCHITECTURES, RANDOM_SEED, _read_configs)


def describe(
    *, where: str, revision: str | None, window_s: float, **common: Unpack[CommonOptions]
) -> tuple[EncoderSpec, str | None]:
    """Spec of an Aria checkpoint and the path of its file (None for random weights).

    Raises WeightsRefused, WeightsUnreachable, and EncoderError for windows that no sequence can hold.
    """
    chosen, settings = MODEL.choose(where, revision)
    n_layers = settings["architecture"]["num_hidden_layers"]
    preprocessing = {
        **settings,
        "window_s": window_s,
        "tokens_version": tokens.VERSION,
        "max_notes": max_notes(settings["architecture"], window_s),
        "pooled_token": "duration",
    }
    return MODEL.spec(
        CODE_VERSION, chosen, preprocessing, n_states=n_layers + 2, frame_states=middle(n_layers), **common
    )


def middle(n_layers: int) -> tuple[int, ...]:
    """States of the middle of the stack, the default for `frames`: 6–12 of Aria's 0–17.

    No published work compares Aria's states. Castellon et al. (arXiv 2107.05677) read Jukebox, another model that
    predicts the next token, at layer 36 of 72.
    """
    first = max(round(3 * n_layers / 8), 1)
    return tuple(range(first, max(round(3 * n_layers / 4), first) + 1))


def max_notes(architecture: dict[str, Any], window_s: float) -> int:
    """Largest number of notes per sequence, so that it fits the model's positions: 681 for windows of 10 s."""
    longest = min(architecture["max_seq_len"], MAX_TOKENS)
    n_notes = (longest - tokens.AROUND - int(window_s * 1000) // tokens.BREAK_MS) // 3
    if n_notes < 1:
        raise EncoderError(
            f"{NAME}: a sequence of {longest} tokens cannot hold a window of {window_s:g} s; plan shorter windows"
        )
    return int(n_notes)


def architecture_of(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The entries of a config.json that change the output; it may have the hub's names or those of the authors' code.

    Raises WeightsRefused for other models, such as the image model `aria` of transformers.
    """
    if config.get("model_type", NAME) != NAME or "text_config" in config or "vision_config" in config:
        raise WeightsRefused(
            f"{NAME}: {folder}/{CONFIG} describes another model ({config.get('model_type')}); the piano model is on the "
            f"hub as {DEFAULT_WEIGHTS}"
        )
    architecture: dict[str, Any] = {key: config.get(key, config.get(_OWN_NAMES.get(key, key))) for key in _MEDIUM}
    if architecture["intermediate_size"] is None and architecture["hidden_size"] and config.get("ff_mult"):
        architecture["intermediate_size"] = config["ff_mult"] * architecture["hidden_size"]
    for key, value in architecture.items():
        if type(value) is not int or value <= 0:
            raise WeightsRefused(f"{NAME}: {folder}/{CONFIG} has {key} {value!r}, not a whole number above 0")
    if architecture["vocab_size"] != tokens.VOCABULARY_SIZE:
        raise WeightsRefused(
            f"{NAME}: {folder}/{CONFIG} has vocab_size {architecture['vocab_size']}; Aria's tokens are {tokens.VOCABULARY_SIZE}"
        )
    if architecture["hidden_size"] % (2 * architecture["num_attention_heads"]):
        raise WeightsRefused(
            f"{NAME}: {folder}/{CONFIG} has hidden_size {architecture['hidden_size']} and {architecture['num_attention_heads']} heads; "
            f"a head needs an even width"
        )
    return architecture


def n_parameters(architecture: dict[str, Any]) -> int:
    """Number of parameters without norms and heads: 631.2 million for aria-medium."""
    width, inner = architecture["hidden_size"], architecture["intermediate_size"]
    return int(
        architecture["num_hidden_layers"] * (4 * width**2 + 3 * width * inner) + architecture["vocab_size"] * width
    )
