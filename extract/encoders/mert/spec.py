"""Specification of MERT, from the configuration files beside its checkpoint. Imports no torch.

MERT-v1 (Li et al., arXiv 2306.00107) is a HuBERT on 24 kHz music. Its 95M and 330M checkpoints load into transformers'
Hubert classes; the authors' remote code is never run. The model is in `mert/model.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Unpack

from keybed.extract.audio.waveform import SAMPLE_RATE_HZ
from keybed.extract.encoders import pooling, weights
from keybed.extract.encoders.errors import WeightsRefused
from keybed.extract.encoders.pretrained import CommonOptions, Pretrained
from keybed.store.format.recipe import EncoderSpec

NAME = "mert"
CODE_VERSION = 3
"""2: the positional convolution is a product on CPUs too, which changes the last bits. 3: on a GPU, products with GELU are
fused kernels."""
DEFAULT_WEIGHTS = "m-a-p/MERT-v1-95M"
CHECKPOINTS = ("model.safetensors", "pytorch_model.bin")
CONFIGS = ("config.json", "preprocessor_config.json")
RANDOM_SEED = 95

_BASE: dict[str, Any] = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "conv_dim": [512] * 7,
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
    "conv_stride": [5, 2, 2, 2, 2, 2, 2],
    "conv_bias": False,
    "num_conv_pos_embeddings": 128,
    "num_conv_pos_embedding_groups": 16,
    "do_stable_layer_norm": False,
    "feat_extract_norm": "group",
    "feat_extract_activation": "gelu",
    "feat_proj_layer_norm": True,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-5,
}
"""Every entry of a Hubert configuration that changes its output, with the values of MERT-v1-95M."""

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "95M": _BASE,
    "330M": {
        **_BASE,
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
        "do_stable_layer_norm": True,
    },
    "tiny": {
        **_BASE,
        "hidden_size": 48,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "intermediate_size": 96,
        "conv_dim": [24] * 7,
        "num_conv_pos_embeddings": 16,
        "num_conv_pos_embedding_groups": 4,
    },
}
"""Sizes of random weights: `random` means `random:95M`; `random:tiny` is for tests."""


def _read_configs(folder: Path) -> dict[str, Any]:
    architecture = architecture_of(weights.read_json(NAME, folder / "config.json"), folder)
    do_normalize = _do_normalize(weights.read_json(NAME, folder / "preprocessor_config.json"), folder)
    return {"architecture": architecture, "do_normalize": do_normalize}


MODEL = Pretrained(NAME, "audio", CHECKPOINTS, CONFIGS, ARCHITECTURES, RANDOM_SEED, _read_configs)


def describe(
    *, where: str, revision: str | None, window_s: float, **common: Unpack[CommonOptions]
) -> tuple[EncoderSpec, str | None]:
    """Spec of a MERT checkpoint and the path of its file (None for random weights).

    Raises WeightsRefused, WeightsUnreachable.
    """
    chosen, settings = MODEL.choose(where, revision)
    n_states = settings["architecture"]["num_hidden_layers"] + 1
    preprocessing = {"do_normalize": True, **settings, "window_s": window_s, "sample_rate_hz": SAMPLE_RATE_HZ}
    return MODEL.spec(
        CODE_VERSION, chosen, preprocessing, n_states=n_states, frame_states=pooling.upper_half(n_states), **common
    )


def architecture_of(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The entries of a config.json that change the output, with Hubert's defaults filled in.

    Raises WeightsRefused for other models.
    """
    kind = config.get("model_type")
    if kind not in ("mert_model", "hubert"):
        raise WeightsRefused(f"{NAME}: {folder}/config.json describes a {kind!r} model, not a mert_model (or hubert)")
    for switch in ("deepnorm", "feature_extractor_cqt", "conv_pos_batch_norm"):
        if config.get(switch):
            raise WeightsRefused(
                f"{NAME}: {folder}/config.json switches {switch} on, which transformers' Hubert does not compute; "
                f"MERT-v1-95M and -330M have it off"
            )
    # A config.json leaves out what equals Hubert's defaults, and those are _BASE.
    architecture: dict[str, Any] = {key: config.get(key, default) for key, default in _BASE.items()}
    kernels, strides = architecture["conv_kernel"], architecture["conv_stride"]
    if not len(architecture["conv_dim"]) == len(kernels) == len(strides):
        raise WeightsRefused(f"{NAME}: {folder}/config.json lists conv_dim, conv_kernel, conv_stride of other lengths")
    # mert/model.py computes this kind of feature extractor and no other.
    fixed: dict[str, Any] = {key: _BASE[key] for key in ("feat_extract_norm", "feat_extract_activation", "conv_bias")}
    other = {key: architecture[key] for key, value in fixed.items() if architecture[key] != value}
    if other or any(not stride <= kernel <= 2 * stride for stride, kernel in zip(strides, kernels, strict=True)):
        raise WeightsRefused(
            f"{NAME}: {folder}/config.json has a feature extractor unlike MERT's: "
            f"{other or {'conv_kernel': kernels, 'conv_stride': strides}}"
        )
    return architecture


def _do_normalize(config: dict[str, Any], folder: Path) -> bool:
    rate = config.get("sampling_rate")
    if rate != SAMPLE_RATE_HZ or "do_normalize" not in config:
        raise WeightsRefused(
            f"{NAME}: {folder}/preprocessor_config.json must give do_normalize and sampling_rate {SAMPLE_RATE_HZ}, "
            f"but has do_normalize {config.get('do_normalize')} and sampling_rate {rate}"
        )
    return bool(config["do_normalize"])


def frame_geometry(architecture: dict[str, Any]) -> tuple[int, int]:
    """Hop between frames and receptive field of one frame, in samples: 320 and 400 for MERT-v1."""
    hop, receptive = 1, 1
    for kernel, stride in zip(architecture["conv_kernel"], architecture["conv_stride"], strict=True):
        receptive += (kernel - 1) * hop
        hop *= stride
    return hop, receptive


def n_frames(architecture: dict[str, Any], n_samples: int) -> int:
    """Number of frames of a clip: 749 for 10 s."""
    for kernel, stride in zip(architecture["conv_kernel"], architecture["conv_stride"], strict=True):
        n_samples = (n_samples - kernel) // stride + 1
    return n_samples


def n_parameters(architecture: dict[str, Any]) -> int:
    """About how many parameters the model has: its layers, and 10 million convolutions."""
    width, inner = architecture["hidden_size"], architecture["intermediate_size"]
    return int(architecture["num_hidden_layers"] * (4 * width**2 + 2 * width * inner)) + 10_000_000
