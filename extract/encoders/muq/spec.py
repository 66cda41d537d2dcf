"""Specification of MuQ, from the configuration file beside its checkpoint. Imports no torch.

Zhu et al., "MuQ: Self-supervised music representation learning with mel residual vector quantization", arXiv
2501.01108. The weights are CC-BY-NC-4.0 (attribution, no commercial use). The model is in `muq/model.py`; the authors' code (MIT)
is not used.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Unpack

from keybed.extract.audio.waveform import SAMPLE_RATE_HZ
from keybed.extract.encoders import weights
from keybed.extract.encoders.errors import WeightsRefused
from keybed.extract.encoders.pretrained import CommonOptions, Pretrained
from keybed.store.format.recipe import EncoderSpec

NAME = "muq"
CODE_VERSION = 1
DEFAULT_WEIGHTS = "OpenMuQ/MuQ-large-msd-iter"
DEFAULT_REVISION = "0562a57814f6f8bbd9fdea0a25921a2fce1a841a"
"""Commit of DEFAULT_WEIGHTS that holds model.safetensors."""
CHECKPOINTS = ("model.safetensors", "pytorch_model.bin")
CONFIG = "config.json"
RANDOM_SEED = 310

N_FFT = 2048
"""Length of the FFT and of its Hann window in samples."""
POWER_FLOOR = 1e-10

_LARGE: dict[str, Any] = {
    "hidden_size": 1024,
    "num_hidden_layers": 12,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "conv_dim": 512,
    "conv_depthwise_kernel_size": 31,
    "rotary_embedding_base": 10000,
    "layer_norm_eps": 1e-5,
    "n_mels": 128,
    "hop_length": 240,
    "mel_mean": 6.768444971712967,
    "mel_std": 18.417922652295623,
}
"""Every entry of the configuration that changes the output, with the values of MuQ-large-msd-iter."""

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "large": _LARGE,
    "tiny": {
        **_LARGE,
        "hidden_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 96,
        "conv_dim": 8,
    },
}
"""Sizes of random weights: `random` means `random:large`; `random:tiny` is for tests."""

_FROM_CONFIG = {
    "hidden_size": "encoder_dim",
    "num_hidden_layers": "encoder_depth",
    "num_attention_heads": "w2v2_config.num_attention_heads",
    "intermediate_size": "w2v2_config.intermediate_size",
    "conv_dim": "conv_dim",
    "conv_depthwise_kernel_size": "w2v2_config.conv_depthwise_kernel_size",
    "rotary_embedding_base": "w2v2_config.rotary_embedding_base",
    "layer_norm_eps": "w2v2_config.layer_norm_eps",
    "n_mels": "n_mels",
    "hop_length": "hop_length",
    "mel_mean": "stat.melspec_2048_mean",
    "mel_std": "stat.melspec_2048_std",
}
"""Key of each entry in config.json. w2v2_config also has a hidden_size and a num_hidden_layers (24, where MuQ-large has 12
layers); the authors' code overwrites both with encoder_dim and encoder_depth."""

_COMPUTED = {
    "features": (["melspec_2048"],),
    "w2v2_config.position_embeddings_type": ("rotary",),
    "w2v2_config.hidden_act": ("swish", "silu"),
}
"""Values that the model supports; others are refused."""


def _read_configs(folder: Path) -> dict[str, Any]:
    return {"architecture": architecture_of(weights.read_json(NAME, folder / CONFIG), folder)}


MODEL = Pretrained(NAME, "audio", CHECKPOINTS, (CONFIG,), ARCHITECTURES, RANDOM_SEED, _read_configs)


def describe(
    *, where: str, revision: str | None, window_s: float, **common: Unpack[CommonOptions]
) -> tuple[EncoderSpec, str | None]:
    """Spec of a MuQ checkpoint and the path of its file (None for random weights).

    Raises WeightsRefused, WeightsUnreachable.
    """
    if where == DEFAULT_WEIGHTS and revision is None:
        revision = DEFAULT_REVISION
    chosen, settings = MODEL.choose(where, revision)
    n_layers = settings["architecture"]["num_hidden_layers"]
    preprocessing = {
        **settings,
        "window_s": window_s,
        "sample_rate_hz": SAMPLE_RATE_HZ,
        "n_fft": N_FFT,
        "power_floor": POWER_FLOOR,
    }
    return MODEL.spec(
        CODE_VERSION, chosen, preprocessing, n_states=n_layers + 1, frame_states=top_third(n_layers), **common
    )


def top_third(n_layers: int) -> tuple[int, ...]:
    """States of the last third of the layers, the default for `frames`: 9–12 of MuQ-large's 0–12.

    arXiv 2601.19029 takes these four to predict ratings of piano performances (R² 0.537 on PercePiano).
    """
    return tuple(range(n_layers - max(n_layers // 3, 1) + 1, n_layers + 1))


def architecture_of(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The entries of a config.json that change the output. Raises WeightsRefused for other models and missing entries."""
    for key, values in _COMPUTED.items():
        if (value := _value(config, key, folder)) not in values:
            raise WeightsRefused(f"{NAME}: {folder}/{CONFIG} has {key} {value!r}; only {values[0]!r} is supported")
    architecture = {name: _value(config, key, folder) for name, key in _FROM_CONFIG.items()}
    for name, key in _FROM_CONFIG.items():
        value, kind = architecture[name], type(_LARGE[name])
        if isinstance(value, bool) or not isinstance(value, (int, float) if kind is float else kind) or value <= 0:
            raise WeightsRefused(f"{NAME}: {folder}/{CONFIG} has {key} {value!r}, not a positive {kind.__name__}")
    width, n_heads = architecture["hidden_size"], architecture["num_attention_heads"]
    if width % (2 * n_heads):
        raise WeightsRefused(
            f"{NAME}: {folder}/{CONFIG} has encoder_dim {width} and {n_heads} heads; a head needs an even width"
        )
    if architecture["conv_depthwise_kernel_size"] % 2 == 0:
        raise WeightsRefused(f"{NAME}: {folder}/{CONFIG} has an even conv_depthwise_kernel_size; it must be odd")
    return architecture


def _value(config: dict[str, Any], key: str, folder: Path) -> Any:
    value: Any = config
    for part in key.split("."):
        if not isinstance(value, dict) or part not in value:
            raise WeightsRefused(f"{NAME}: {folder}/{CONFIG} has no {key}; it is not the configuration of a MuQ")
        value = value[part]
    return value


def n_frames(architecture: dict[str, Any], n_samples: int) -> int:
    """Number of frames of a clip: 250 for 10 s. Two convolutions of stride 2 follow the spectrogram."""
    n_mel_frames = n_samples // architecture["hop_length"]
    return -(-n_mel_frames // 4)


def frame_hop_s(architecture: dict[str, Any]) -> float:
    """Seconds from one frame to the next, 0.04. Frame m is centred on spectrogram frame 4 m, at m times this."""
    return float(4 * architecture["hop_length"] / SAMPLE_RATE_HZ)


def n_parameters(architecture: dict[str, Any]) -> int:
    """Number of parameters without norms and biases: 315.7 million for MuQ-large."""
    width, inner, channels = (architecture[key] for key in ("hidden_size", "intermediate_size", "conv_dim"))
    convolutions = 9 * (2 * channels + 4 * channels**2) + channels * -(-architecture["n_mels"] // 4) * width
    layer = 7 * width**2 + 4 * width * inner + architecture["conv_depthwise_kernel_size"] * width
    return int(convolutions + architecture["num_hidden_layers"] * layer)
