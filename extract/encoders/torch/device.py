"""What the two big encoders share on the torch side: the device, the dtype, reading and drawing weights, pooling."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from keybed.extract.encoders import weights
from keybed.extract.encoders.errors import EncoderError, WeightsRefused
from keybed.store.format.recipe import EncoderSpec

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_NUMPY_NUMBERS: list[Any] = [
    *((np.float64(0).__reduce__()[0], f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    np.dtype,
    *(type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8")),
]
"""What a training script leaves beside the tensors, an accuracy that is numpy's and not Python's: numbers, no code."""


def prepare(spec: EncoderSpec) -> tuple[torch.device, torch.dtype]:
    """Device (a GPU where there is one) and dtype of the spec; sets torch's threads to the spec's: sums then repeat."""
    if spec.compute_dtype not in _DTYPES:
        raise EncoderError(f"{spec.name}: compute_dtype {spec.compute_dtype!r} is none of {', '.join(_DTYPES)}")
    torch.set_num_threads(spec.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cuda":
        # fp32 means fp32: TF32 would be a third dtype that no spec mentions.
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.benchmark = False
    return device, _DTYPES[spec.compute_dtype]


def fast_bfloat16() -> bool:
    """Whether this machine multiplies bfloat16 faster than float32: GPUs since Ampere, CPUs with avx512_bf16 or AMX."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def read_checkpoint(spec: EncoderSpec, file: Path) -> dict[str, object]:
    """Tensors of a .safetensors file, or what a torch.save file holds, mapped rather than read where its format allows.

    Raises WeightsRefused where the file is not the one that was planned with, or is damaged.
    """
    if not file.is_file():
        raise WeightsRefused(
            f"{spec.name}: the checkpoint {file} is gone; put it back, or correct its path in the store's places.json"
        )
    found = weights.sha256_of(file)
    if found != spec.weights_sha256:
        raise WeightsRefused(
            f"{spec.name}: {file} has sha256 {found[:12]}…, the store was planned with {spec.weights_sha256[:12]}…; "
            f"put the planned file back, or plan another store"
        )
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(file))
        with file.open("rb") as opened:
            zipped = opened.read(2) == b"PK"
        with torch.serialization.safe_globals(_NUMPY_NUMBERS):
            loaded: dict[str, object] = torch.load(file, map_location="cpu", weights_only=True, mmap=zipped)
    except Exception as error:  # torch.load raises a dozen kinds, from RuntimeError to UnpicklingError
        raise WeightsRefused(
            f"{spec.name}: {file} cannot be read as a checkpoint ({error}); download it again"
        ) from error
    return loaded


def compare_tensors(name: str, file: Path | str, wanted: dict[str, Tensor], given: dict[str, Tensor]) -> None:
    """Raise WeightsRefused, naming every tensor that is missing, unexpected or of another shape."""
    missing = sorted(set(wanted) - set(given))
    unexpected = sorted(set(given) - set(wanted))
    shapes = [
        f"{key} {tuple(given[key].shape)} for {tuple(wanted[key].shape)}"
        for key in sorted(set(wanted) & set(given))
        if wanted[key].shape != given[key].shape
    ]
    if missing or unexpected or shapes:
        raise WeightsRefused(
            f"{name}: {file} is a checkpoint of another architecture: "
            f"{len(missing)} tensors missing{_some(missing)}, {len(unexpected)} unexpected{_some(unexpected)}, "
            f"{len(shapes)} of another shape{_some(shapes)}"
        )


def _some(names: list[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return f" ({', '.join(names[:8])}{more})"


def draw(wanted: dict[str, Tensor], seed: int) -> dict[str, Tensor]:
    """Random weights for the shapes given, each from its own generator, keyed by (seed, name).

    Norms start at 1 and 0, biases at 0, `…conv.weight` at He's standard deviation, everything else at BERT's 0.02.
    """
    drawn = {}
    for name, shape_of in wanted.items():
        leaf, parent = name.rsplit(".", 1)[-1], name.rsplit(".", 2)[-2] if "." in name else ""
        if leaf == "bias":
            drawn[name] = torch.zeros(shape_of.shape)
        elif "norm" in parent.lower():
            drawn[name] = torch.ones(shape_of.shape)
        else:
            key = hashlib.sha256(f"{seed}/{name}".encode()).digest()
            generator = torch.Generator().manual_seed(int.from_bytes(key[:8], "little") >> 1)
            std = math.sqrt(2 / math.prod(shape_of.shape[1:])) if shape_of.ndim == 3 else 0.02
            drawn[name] = torch.empty(shape_of.shape).normal_(0.0, std, generator=generator)
    return drawn


def pool_bins(state_BxTxC: Tensor, averaging_NxT: Tensor) -> Tensor:
    """Mean and population sd of float32 states within each bin, (B, n_bins, 2, C); pooling.bin_stats on a device.

    averaging: rows that sum to 1. Centred on the clip's mean first, so that the difference of squares keeps the spread
    of channels that stand far from zero.
    """
    centre = state_BxTxC.mean(1, keepdim=True)
    state_BxTxC = state_BxTxC - centre
    mean = averaging_NxT @ state_BxTxC
    square = averaging_NxT @ state_BxTxC.square()
    return torch.stack([mean + centre, (square - mean.square()).clamp_min(0).sqrt()], dim=2)
