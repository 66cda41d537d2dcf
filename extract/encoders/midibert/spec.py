"""MIDIBert: what must be known of a checkpoint before it is opened, without torch. The model is in `midibert/model.py`.

Chou et al., "MidiBERT-Piano: Large-scale Pre-training for Symbolic Music Understanding", arXiv 2107.05223. The authors
publish their checkpoints on a drive, not on the hub: give the downloaded file, or a folder that holds it alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from keybed.extract.encoders import pooling, weights
from keybed.extract.encoders.errors import WeightsRefused
from keybed.extract.encoders.midibert import cp_tokens
from keybed.store.format.recipe import EncoderSpec

NAME = "midibert"
CODE_VERSION = 1
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
"""For random weights: `random` and `random:base` are the same, `random:tiny` is for tests."""


def describe(
    *, where: str, n_bins: int, window_s: float, threads: int, revision: str | None, compute_dtype: str
) -> tuple[EncoderSpec, str | None]:
    """Spec of a MIDIBert checkpoint and the file it lies in (None for random weights).

    The authors' checkpoints carry no configuration: theirs is assumed unless a bert_config.json lies beside; `build`
    compares every tensor with it. Raises WeightsRefused, WeightsUnreachable.
    """
    checkpoint_path: str | None = None
    kind, _, size = where.partition(":")
    if kind == weights.RANDOM:
        architecture = weights.random_architecture(NAME, size or "base", ARCHITECTURES)
        source, found_revision = weights.RANDOM, size or "base"
        digest = weights.random_sha256(architecture, RANDOM_SEED)
    else:
        found = weights.resolve(NAME, where, revision, CHECKPOINTS, (CONFIG,))
        beside = found.folder / CONFIG
        architecture = architecture_of(weights.read_json(NAME, beside) if beside.exists() else {}, found.folder)
        source, found_revision, digest, checkpoint_path = found.source, found.revision, found.sha256, str(found.file)
    n_states = architecture["num_hidden_layers"] + 1
    spec = EncoderSpec(
        name=NAME,
        modality="midi",
        source=source,
        revision=found_revision,
        weights_sha256=digest,
        code_version=CODE_VERSION,
        preprocessing={
            "window_s": window_s,
            "ticks_per_s": cp_tokens.TICKS_PER_S,
            "tokens_version": cp_tokens.VERSION,
            "max_notes": cp_tokens.MAX_NOTES,
            "architecture": architecture,
            "pooling_version": pooling.VERSION,
        },
        n_states=n_states,
        width=architecture["hidden_size"],
        n_bins=n_bins,
        frame_states=pooling.upper_half(n_states),
        frame_stats=("mean",),
        has_mask=True,
        compute_dtype=compute_dtype,
        threads=threads,
    )
    return spec, checkpoint_path


def architecture_of(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The authors' architecture, changed where a bert_config.json says so.

    Raises WeightsRefused for another kind of attention, or for fewer positions than a full window has notes.
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
