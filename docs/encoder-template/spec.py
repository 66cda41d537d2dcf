"""Specification of Toy, from the configuration file beside its checkpoint. Imports no torch.

Name the paper, the authors' code and the licence of the weights here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Unpack

from keybed.extract.audio.waveform import SAMPLE_RATE_HZ
from keybed.extract.encoders import pooling, weights
from keybed.extract.encoders.errors import WeightsRefused
from keybed.extract.encoders.pretrained import CommonOptions, Pretrained
from keybed.store.format.recipe import EncoderSpec

NAME = "toy"
CODE_VERSION = 1
"""Raise it whenever a number of this encoder changes."""
DEFAULT_WEIGHTS = None
"""A Hugging Face id, or None where the weights are on no hub."""
CHECKPOINTS = ("model.safetensors",)
CONFIG = "config.json"
RANDOM_SEED = 1

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "base": {"hidden_size": 64, "num_hidden_layers": 4, "hop_length": 480},
    "tiny": {"hidden_size": 8, "num_hidden_layers": 2, "hop_length": 480},
}
"""Sizes of random weights, the default first; `tiny` is for tests. Every entry that changes the output."""


def _read_configs(folder: Path) -> dict[str, Any]:
    return {"architecture": architecture_of(weights.read_json(NAME, folder / CONFIG), folder)}


MODEL = Pretrained(NAME, "audio", CHECKPOINTS, (CONFIG,), ARCHITECTURES, RANDOM_SEED, _read_configs)


def describe(
    *, where: str, revision: str | None, window_s: float, **common: Unpack[CommonOptions]
) -> tuple[EncoderSpec, str | None]:
    """Spec of a checkpoint and the path of its file (None for random weights).

    Raises WeightsRefused, WeightsUnreachable.
    """
    chosen, settings = MODEL.choose(where, revision)
    n_states = settings["architecture"]["num_hidden_layers"] + 1
    preprocessing = {**settings, "window_s": window_s, "sample_rate_hz": SAMPLE_RATE_HZ}
    return MODEL.spec(
        CODE_VERSION,
        chosen,
        preprocessing,
        n_states=n_states,
        frame_states=pooling.upper_half(n_states),
        **common,
    )


def architecture_of(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The entries of a config.json that change the output. Raises WeightsRefused for what the model does not compute."""
    architecture = {key: config.get(key) for key in ARCHITECTURES["base"]}
    for key, value in architecture.items():
        if type(value) is not int or value <= 0:
            raise WeightsRefused(f"{NAME}: {folder}/{CONFIG} has {key} {value!r}, not a positive whole number")
    return architecture


def frame_hop_s(architecture: dict[str, Any]) -> float:
    """Seconds from one frame to the next."""
    return float(architecture["hop_length"] / SAMPLE_RATE_HZ)


def n_parameters(architecture: dict[str, Any]) -> int:
    """About how many parameters the model has; the estimate of memory needs it."""
    width = architecture["hidden_size"]
    return int(width * architecture["hop_length"] + architecture["num_hidden_layers"] * width**2)
