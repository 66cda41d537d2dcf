"""Shared by the two big encoders: device and dtype, reading and drawing weights, pooling in torch."""

from __future__ import annotations

import hashlib
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from keybed.extract.encoders import blas, weights
from keybed.extract.encoders.errors import EncoderError, WeightsRefused
from keybed.store.format.recipe import EncoderSpec

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_NUMPY_NUMBERS: list[Any] = [
    *((np.float64(0).__reduce__()[0], f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    np.dtype,
    *(type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8")),
]
"""numpy types that a checkpoint may hold beside its tensors (a training script saves accuracies). They are no code."""


def prepare(spec: EncoderSpec) -> tuple[torch.device, torch.dtype]:
    """Device (a GPU where there is one) and dtype of the spec. Sets the threads of torch and of BLAS to the spec's,
    so that sums repeat.

    Raises EncoderError for an unknown dtype.
    """
    if spec.compute_dtype not in _DTYPES:
        raise EncoderError(f"{spec.name}: compute_dtype {spec.compute_dtype!r} is none of {', '.join(_DTYPES)}")
    torch.set_num_threads(spec.threads)
    blas.set_threads(spec.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cuda":
        # float32 must not become TF32, a third dtype that no spec names.
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.benchmark = False
    return device, _DTYPES[spec.compute_dtype]


def fast_bfloat16() -> bool:
    """Whether bfloat16 products are faster than float32 here: GPUs since Ampere, CPUs with avx512_bf16 or AMX."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def read_checkpoint(spec: EncoderSpec, file: Path) -> dict[str, object]:
    """Read the tensors of a .safetensors file, or the content of a torch.save file (memory-mapped where it is a zip).

    Raises WeightsRefused where the file is gone, is damaged, or differs from the planned one.
    """
    if not file.is_file():
        raise WeightsRefused(
            f"{spec.name}: the checkpoint {file} is gone; put it back, or correct its path in the store's places.json"
        )
    sha256 = weights.sha256_of(file)
    if sha256 != spec.weights_sha256:
        raise WeightsRefused(
            f"{spec.name}: {file} has sha256 {sha256[:12]}…, the store was planned with {spec.weights_sha256[:12]}…; "
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
    """Raise WeightsRefused with the names of tensors that are missing, unexpected or of another shape."""
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
    """Draw random weights for the given shapes, each tensor from its own generator, keyed by (seed, name).

    Norms are 1 and 0, running variances 1, running means and biases 0; convolutions have He's standard deviation,
    everything else BERT's 0.02.
    """
    drawn = {}
    for name, shape_of in wanted.items():
        leaf, parent = name.rsplit(".", 1)[-1], name.rsplit(".", 2)[-2] if "." in name else ""
        if leaf in ("bias", "running_mean"):
            drawn[name] = torch.zeros(shape_of.shape)
        elif leaf == "running_var" or "norm" in parent.lower() or re.fullmatch(r"bn\d*", parent):
            drawn[name] = torch.ones(shape_of.shape)
        else:
            key = hashlib.sha256(f"{seed}/{name}".encode()).digest()
            generator = torch.Generator().manual_seed(int.from_bytes(key[:8], "little") >> 1)
            std = math.sqrt(2 / math.prod(shape_of.shape[1:])) if shape_of.ndim >= 3 else 0.02
            drawn[name] = torch.empty(shape_of.shape).normal_(0.0, std, generator=generator)
    return drawn


def pool_bins(state_BxTxC: Tensor, averaging_NxT: Tensor) -> Tensor:
    """Mean and population sd of float32 states per bin, (B, n_bins, 2, C): `pooling.bin_stats` in torch.

    averaging: rows that sum to 1. States are centred on the clip's mean first, so that the difference of squares is
    accurate for channels far from zero.
    """
    centre = state_BxTxC.mean(1, keepdim=True)
    state_BxTxC = state_BxTxC - centre
    mean = averaging_NxT @ state_BxTxC
    square = averaging_NxT @ state_BxTxC.square()
    return torch.stack([mean + centre, (square - mean.square()).clamp_min(0).sqrt()], dim=2)
