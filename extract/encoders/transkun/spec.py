"""Specification of Transkun 2.0.1, a piano transcription transformer. Imports no torch.

Y. Yan and Z. Duan, "Scoring intervals using non-hierarchical transformer for automatic piano transcription", ISMIR 2024,
arXiv 2404.09466. Weights and code are MIT, in the wheel `transkun` on PyPI; the weights were trained on MAESTRO, whose
recordings are CC BY-NC-SA 4.0. The model is in `transkun/model.py`; the authors' package is not used.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from keybed.extract.audio.waveform import SAMPLE_RATE_HZ
from keybed.extract.encoders.errors import EncoderError, WeightsRefused
from keybed.extract.encoders.pretrained import CommonOptions, Pretrained
from keybed.extract.encoders.wheel import TRANSKUN
from keybed.store.command import command
from keybed.store.format.recipe import EncoderSpec

NAME = "transkun"
CODE_VERSION = 1
DEFAULT_WEIGHTS = TRANSKUN.requirement
CHECKPOINTS = ("2.0.pt", "*.pt")
CONFIG = "2.0.conf"
RANDOM_SEED = 88

RESAMPLER = "soxr HQ"
SILENCE_FRAMES = 128
"""Spectrogram frames of silence before the clip (2.97 s); a multiple of GROUP_FRAMES. With a clip that begins at once the
model misses up to half of its notes."""
LONGEST_WINDOW_S = 13.0
"""Longer clips do not fit into the 16 s that the model was trained on, after the silence."""
GROUP_FRAMES = 8
"""Spectrogram frames of one token in time."""
N_KEYS = 88
PITCHES = (-64, -67, *range(21, 21 + N_KEYS))
"""Tokens after the spectrum's: sustain pedal, soft pedal (as the authors code them), and the keys by MIDI pitch."""
TOKEN_POOLING = ("keys mean", "keys sd", "spectrum mean", "spectrum sd", "aggregate", "sustain pedal")
"""What becomes of the tokens of one moment, in the order of the channels; each takes the network's width."""

_PUBLISHED: dict[str, Any] = {
    "rate_hz": 44100,
    "n_fft": 4096,
    "hop_length": 1024,
    "n_mels": 229,
    "f_min_hz": 30,
    "f_max_hz": 8000,
    "n_extra_windows": 5,
    "context_s": 16,
    "base_width": 64,
    "n_heads": 8,
    "n_layers": 6,
    "inner_factor": 4,
    "score_factor": 4,
    "velocity_hidden": 512,
    "refinement_hidden": 512,
}
"""Every entry of the configuration that changes the output, with the values of 2.0."""

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "2.0": _PUBLISHED,
    "tiny": {
        **_PUBLISHED,
        "n_fft": 1024,
        "n_mels": 61,
        "n_extra_windows": 1,
        "inner_factor": 1,
        "base_width": 8,
        "n_heads": 4,
        "n_layers": 2,
        "velocity_hidden": 16,
        "refinement_hidden": 16,
    },
}
"""Sizes of random weights: `random` means `random:2.0`; `random:tiny` is for tests."""

_FROM_CONFIG = {
    "rate_hz": "fs",
    "n_fft": "windowSize",
    "hop_length": "hopSize",
    "n_mels": "n_mels",
    "f_min_hz": "f_min",
    "f_max_hz": "f_max",
    "n_extra_windows": "nExtraWins",
    "context_s": "segmentSizeInSecond",
    "base_width": "baseSize",
    "n_heads": "nHead",
    "n_layers": "nLayers",
    "inner_factor": "hiddenFactor",
    "score_factor": "scoringExpansionFactor",
    "velocity_hidden": "velocityPredictorHiddenSize",
    "refinement_hidden": "refinedOFPredictorHiddenSize",
}
"""Key of each entry in the .conf file beside the checkpoint."""

_COMPUTED: dict[str, Any] = {
    "downsampleF": True,
    "enabledAttn": ["F", "T"],
    "hiddenFactorAttn": 1,
    "useInnerProductScorer": True,
}
"""Values that the model supports; others are refused."""


def _read_configs(folder: Path) -> dict[str, Any]:
    return {"architecture": architecture_of(folder / CONFIG)}


MODEL = Pretrained(NAME, "audio", CHECKPOINTS, (), ARCHITECTURES, RANDOM_SEED, _read_configs)


def describe(
    *, where: str, revision: str | None, window_s: float, **common: Unpack[CommonOptions]
) -> tuple[EncoderSpec, str | None]:
    """Spec of a Transkun checkpoint and the path of its file (None for random weights).

    It computes in float32, whatever compute_dtype says: in bfloat16 its states are 5 to 8 % off, and it is no faster.
    Raises WeightsRefused, WeightsUnreachable, and EncoderError for a window that the model's context cannot hold.
    """
    if window_s > LONGEST_WINDOW_S:
        raise EncoderError(
            f"{NAME}: windows of {window_s:g} s do not fit into its context of 16 s with 3 s of silence before; plan "
            f"--window {LONGEST_WINDOW_S:g} or less, or leave {NAME} out"
        )
    chosen, settings = MODEL.choose(where, revision)
    n_layers = settings["architecture"]["n_layers"]
    preprocessing = {
        **settings,
        "window_s": window_s,
        "sample_rate_hz": SAMPLE_RATE_HZ,
        "resampler": RESAMPLER,
        "silence_frames": SILENCE_FRAMES,
        "token_pooling": list(TOKEN_POOLING),
    }
    return MODEL.spec(
        CODE_VERSION,
        chosen,
        preprocessing,
        n_states=n_layers + 1,
        width=len(TOKEN_POOLING) * width(settings["architecture"]),
        frame_states=middle_states(n_layers),
        n_bins=common["n_bins"],
        threads=common["threads"],
        compute_dtype="float32",
    )


def middle_states(n_layers: int) -> tuple[int, ...]:
    """States whose mean gives `frames`: 3 to 5 of 0 to 6.

    In a ridge regression on 264 degraded rows of 36 pieces, states 3 to 6 could not be told apart and the last was no better
    than the middle ones.
    """
    return tuple(range(n_layers // 2, n_layers)) or (n_layers,)


def architecture_of(path: Path) -> dict[str, Any]:
    """The architecture in the .conf beside a checkpoint, or that of 2.0 where there is none.

    Raises WeightsRefused for a damaged file and for values that the model does not compute.
    """
    if not path.is_file():
        return _PUBLISHED
    try:
        config = json.loads(path.read_bytes())["Model"]["config"]
        values = {key: config[key] for key in (*_FROM_CONFIG.values(), *_COMPUTED)}
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsRefused(
            f"{NAME}: {path} is no configuration of Transkun ({type(error).__name__}: {error}); run `{command('fetch', NAME)}`"
        ) from error
    for key, value in _COMPUTED.items():
        if values[key] != value:
            raise WeightsRefused(f"{NAME}: {path} has {key} {values[key]!r}; only {value!r} is supported")
    for key in _FROM_CONFIG.values():
        if isinstance(values[key], bool) or not isinstance(values[key], int) or values[key] <= 0:
            raise WeightsRefused(f"{NAME}: {path} has {key} {values[key]!r}, not a positive whole number")
    architecture = {name: values[key] for name, key in _FROM_CONFIG.items()}
    # The sizes are compared with the tensors; what no tensor shows must be what the model was trained with.
    shown_by_no_tensor = ("rate_hz", "hop_length", "context_s", "f_min_hz", "f_max_hz", "n_heads")
    for name in shown_by_no_tensor:
        if architecture[name] != _PUBLISHED[name]:
            raise WeightsRefused(
                f"{NAME}: {path} has {_FROM_CONFIG[name]} {architecture[name]}; only {_PUBLISHED[name]} is supported"
            )
    return architecture


def width(architecture: dict[str, Any]) -> int:
    """Width of one token: 256."""
    return int(4 * architecture["base_width"])


def n_frames(architecture: dict[str, Any]) -> int:
    """Spectrogram frames of the whole context: 691."""
    return math.ceil(architecture["context_s"] * architecture["rate_hz"] / architecture["hop_length"]) + 1


def n_groups(architecture: dict[str, Any]) -> int:
    """Tokens in time of the whole context: 88, of 8 frames each; three convolutions halve the frames."""
    n = n_frames(architecture) + GROUP_FRAMES - 1
    for _ in range(3):
        n = (n - 1) // 2 + 1
    return n


def group_centres_s(architecture: dict[str, Any]) -> NDArray[np.float64]:
    """Middle of the frames that each group of tokens stands for, in seconds from the clip's start, float64 (n_groups,)."""
    frames = GROUP_FRAMES * np.arange(n_groups(architecture)) + (GROUP_FRAMES - 1) / 2 - SILENCE_FRAMES
    return frames * (architecture["hop_length"] / architecture["rate_hz"])


def n_spectrum_tokens(architecture: dict[str, Any]) -> int:
    """Tokens over frequency: 58."""
    n = architecture["n_mels"] + 3
    for _ in range(2):
        n = (n - 1) // 2 + 1
    return int(n)


def n_parameters(architecture: dict[str, Any]) -> int:
    """Number of parameters without norms and biases: 14 million."""
    base, wide = architecture["base_width"], width(architecture)
    positions = 4 * base**2 * 2 + 2 * 8 * wide**2
    convolutions = (
        9 * (base * (architecture["n_extra_windows"] + 1) + 2 * base**2 + 2 * base * wide + 2 * wide**2)
        + GROUP_FRAMES * wide * architecture["score_factor"] * base
    )
    layers = architecture["n_layers"] * 2 * (4 + 2 * architecture["inner_factor"]) * wide**2
    scored = architecture["score_factor"] * base
    heads = 2 * scored**2 + architecture["velocity_hidden"] * (3 * scored + 128)
    heads += architecture["refinement_hidden"] * (3 * scored + 4)
    filters = (architecture["n_fft"] // 2 + 1) * architecture["n_mels"]
    return int(positions + convolutions + layers + heads + filters)
