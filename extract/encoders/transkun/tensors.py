"""The tensors of a Transkun checkpoint: their names in the file and in the model, and their shapes. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from keybed.extract.encoders.checkpoint import Shape, linear, norm, unwrapped
from keybed.extract.encoders.transkun.spec import GROUP_FRAMES, width

_RENAMED: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
    (r"^framewiseFeatureExtractor\.freq2mels", "spectrogram.filters"),
    (r"^framewiseFeatureExtractor\.spectrogramExtractor\.win$", "spectrogram.hann"),
    (r"^framewiseFeatureExtractor\.spectrogramExtractor\.winGen\.", "spectrogram."),
    (r"^scorer\.map\.0", "scorer"),
    (r"^velocityPredictor\.0", "velocity.inner"),
    (r"^velocityPredictor\.3", "velocity.outer"),
    (r"^refinedOFPredictor\.0", "refinement.inner"),
    (r"^refinedOFPredictor\.3", "refinement.outer"),
    (r"^backbone\.upConv1dSkip", "upsample"),
    (r"^backbone\.inputConv", "backbone.convolutions.first"),
    (r"^backbone\.downConv\.(1|5|9|13)\.", lambda match: f"backbone.convolutions.conv.{int(match[1]) // 4}."),
    (r"^backbone\.downConv\.(2|6|10|14)\.", lambda match: f"backbone.convolutions.norm.{int(match[1]) // 4}."),
    (r"^backbone\.posEmbedBuilder\.", "backbone.band_positions."),
    (r"^backbone\.posEmbedBuilderAttnTF\.", "backbone.spectrum_positions."),
    (r"^backbone\.posEmbedBuilderAttnTE\.", "backbone.pitch_positions."),
    (r"^backbone\.encoderLayers\.", "backbone.layers."),
    (r"\.(mha|fnn)BlockF\.", r".over_frequency.\1."),
    (r"\.(mha|fnn)BlockT\.", r".over_time.\1."),
    (r"\.mha\.module\.([qkv])_proj_weight$", r".\1"),
    (r"\.mha\.module\.out_proj\.", ".out."),
    (r"\.mha\.scale$", ".attention_scale"),
    (r"\.fnn\.scale$", ".feed_forward_scale"),
    (r"\.(mlp|fnn)(?:\.module)?\.0\.", ".inner."),
    (r"\.(mlp|fnn)(?:\.module)?\.3\.", ".outer."),
)
"""(pattern in the file's name, name in the model)."""
OPTIONAL = ()

T = TypeVar("T")


def own(tensors: Mapping[str, T]) -> dict[str, T]:
    """The checkpoint's tensors by the model's names."""
    return {_renamed(unwrapped(name)): tensor for name, tensor in tensors.items()}


def _renamed(name: str) -> str:
    for pattern, new in _RENAMED:
        name = re.sub(pattern, new, name)
    return name


def shapes(architecture: dict[str, Any], tensors: Mapping[str, Any]) -> dict[str, Shape]:
    """Every tensor that the model needs."""
    base, wide, n_fft = architecture["base_width"], width(architecture), architecture["n_fft"]
    scored, n_extra = architecture["score_factor"] * base, architecture["n_extra_windows"]
    wanted: dict[str, tuple[int, ...]] = {
        "spectrogram.filters": (n_fft // 2 + 1, architecture["n_mels"]),
        "spectrogram.hann": (n_fft,),
        "spectrogram.sigma": (n_extra,),
        "spectrogram.center": (n_extra,),
        "upsample.weight": (wide, scored, GROUP_FRAMES),
        "upsample.bias": (scored,),
        "backbone.convolutions.first.weight": (base, n_extra + 1, 3, 3),
        "backbone.convolutions.first.bias": (base,),
    }
    for stage, (n_in, n_out) in enumerate(((base, 2 * base), (2 * base, wide), (wide, wide), (wide, wide))):
        wanted[f"backbone.convolutions.conv.{stage}.weight"] = (n_out, n_in, 3, 3)
        wanted[f"backbone.convolutions.conv.{stage}.bias"] = (n_out,)
        wanted |= norm(f"backbone.convolutions.norm.{stage}", n_out)
    for name, n_coordinates, size in (("band", 1, base), ("spectrum", 2, wide), ("pitch", 2, wide)):
        wanted |= linear(f"backbone.{name}_positions.proj", n_coordinates, size)
        wanted |= linear(f"backbone.{name}_positions.inner", size, 4 * size)
        wanted |= linear(f"backbone.{name}_positions.outer", 4 * size, size)
    for layer in range(architecture["n_layers"]):
        for half in ("over_frequency", "over_time"):
            here, inner = f"backbone.layers.{layer}.{half}", architecture["inner_factor"] * wide
            wanted |= {f"{here}.{part}": (wide, wide) for part in ("q", "k", "v")}
            wanted |= linear(f"{here}.out", wide, wide)
            wanted |= linear(f"{here}.inner", wide, inner) | linear(f"{here}.outer", inner, wide)
            wanted |= {f"{here}.{part}_scale": (wide,) for part in ("attention", "feed_forward")}
    wanted |= linear("scorer", scored, 2 * scored + 1)
    for head, n_out in (("velocity", 128), ("refinement", 4)):
        wanted |= linear(f"{head}.inner", 3 * scored, architecture[f"{head}_hidden"])
        wanted |= linear(f"{head}.outer", architecture[f"{head}_hidden"], n_out)
    return {name: Shape(shape) for name, shape in wanted.items()}
