"""What all networks in torch share: device and dtype, reading and drawing weights, pooling in torch."""

from __future__ import annotations

import hashlib
import math
import os
import pickle
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from keybed.extract.encoders import blas, checkpoint
from keybed.extract.encoders.errors import EncoderError, WeightsRefused
from keybed.store.format.recipe import EncoderSpec

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_WEIGHT_TYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
_AROUND = ("state_dict", "model_state_dict", "model")
"""Keys under which training scripts save a model's tensors."""
_NUMPY_NUMBERS: list[Any] = [
    *((np.float64(0).__reduce__()[0], f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    np.dtype,
    *(type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8")),
]
"""numpy types that a checkpoint may hold beside its tensors (a training script saves accuracies). They are no code."""


def prepare(spec: EncoderSpec) -> tuple[torch.device, torch.dtype]:
    """Device (a GPU where there is one) and dtype of the spec. Sets the threads of torch and of BLAS to the spec's,
    so that sums repeat.

    Raises EncoderError for an unknown dtype, and where a GPU's driver is too old for torch.
    """
    if spec.compute_dtype not in _DTYPES:
        raise EncoderError(f"{spec.name}: compute_dtype {spec.compute_dtype!r} is none of {', '.join(_DTYPES)}")
    torch.set_num_threads(spec.threads)
    blas.set_threads(spec.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu":
        _refuse_old_driver(spec.name)
    else:
        # float32 must not become TF32, a third dtype that no spec names.
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.benchmark = False
    return device, _DTYPES[spec.compute_dtype]


def _refuse_old_driver(name: str) -> None:
    """Raise EncoderError where there is a GPU that torch leaves alone because its driver is too old.

    torch itself only warns, and a task would compute on the CPU, many times slower, without another word.
    """
    sufficient = getattr(torch._C, "_cuda_isDriverSufficient", None)
    if os.environ.get("CUDA_VISIBLE_DEVICES") == "" or sufficient is None or sufficient():
        return
    if (version := torch._C._cuda_getDriverVersion()) > 0:  # 0: no driver, thus no GPU
        raise EncoderError(
            f"{name}: the GPU's driver is too old: it knows CUDA {version // 1000}.{version % 1000 // 10}, torch "
            f"{torch.__version__} needs {torch.version.cuda}. Update the driver, install a torch for the older CUDA "
            f"(docs/install.md), or put CUDA_VISIBLE_DEVICES= before the command to compute on the CPU"
        )


def has_gpu() -> bool:
    """Whether networks compute on a GPU here."""
    return torch.cuda.is_available()


def fast_bfloat16() -> bool:
    """Whether bfloat16 products are faster than float32 here: GPUs since Ampere, CPUs with avx512_bf16 or AMX."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def own_tensors(
    spec: EncoderSpec, file: Path, own: Callable[[Mapping[str, Tensor]], dict[str, Tensor]]
) -> dict[str, Tensor]:
    """A model's tensors out of the planned checkpoint, by the names that `own` gives them.

    Raises WeightsRefused where the file is gone, damaged or not the planned one, and for tensors that are no
    floating-point numbers, or hold NaN or infinities.
    """
    sha256 = checkpoint.sha256_of(spec.name, file)
    if sha256 != spec.weights_sha256:
        raise WeightsRefused(
            f"{spec.name}: {file} has sha256 {sha256[:12]}…, the store was planned with {spec.weights_sha256[:12]}…; "
            f"put the planned file back, or plan another store"
        )
    state = own(read_tensors(spec.name, file))
    check_numbers(spec.name, file, state)
    return state


def read_tensors(name: str, file: Path) -> dict[str, Tensor]:
    """Every tensor of a checkpoint, memory-mapped where the file allows it; a dictionary around them is opened.

    Raises WeightsRefused for files that cannot be read, and for other content than tensors.
    """
    tensors: dict[str, Tensor] = {}
    for part in checkpoint.parts_of(name, file):
        loaded = _load(name, part)
        content = loaded if isinstance(loaded, dict) else {}
        for key in _AROUND:
            if isinstance(content.get(key), dict):
                content = content[key]
                break
        if not content or not all(isinstance(tensor, Tensor) for tensor in content.values()):
            holds = (
                ", ".join(sorted(map(str, loaded))[:8]) if isinstance(loaded, dict) else f"a {type(loaded).__name__}"
            )
            raise WeightsRefused(
                f'{name}: {part} holds no "state_dict" of tensors, and is no plain dictionary of tensors; it has {holds}'
            )
        tensors |= {str(key): tensor for key, tensor in content.items()}
    return tensors


def _load(name: str, file: Path) -> object:
    try:
        if checkpoint.is_safetensors(file):
            from safetensors.torch import load_file

            return load_file(file)
        with file.open("rb") as opened:
            zipped = opened.read(2) == b"PK"
        with torch.serialization.safe_globals(_NUMPY_NUMBERS):
            return torch.load(file, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as error:
        # torch's own message explains how to switch this check off; it is never repeated.
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f"the Python object {named[1]}" if named else "something else than tensors, or is damaged"
        raise WeightsRefused(
            f"{name}: {file} cannot be read as a checkpoint: it holds {what}. Only tensors and numbers are read, because "
            f"anything else in a pickle can run code: download the file again, or save its tensors as safetensors"
        ) from None
    except Exception as error:  # torch.load raises a dozen kinds
        lines = str(error).strip().splitlines()
        reason = lines[0] if lines and "weights_only" not in lines[0] else type(error).__name__
        raise WeightsRefused(f"{name}: {file} cannot be read as a checkpoint ({reason}); download it again") from None


def check_numbers(name: str, file: Path, state: Mapping[str, Tensor]) -> None:
    """Raise WeightsRefused for tensors that are no floating-point numbers, or that hold NaN or infinities."""
    for key, tensor in state.items():
        if tensor.dtype not in _WEIGHT_TYPES:
            raise WeightsRefused(checkpoint.wrong_type(name, file, key, str(tensor.dtype).removeprefix("torch.")))
        if not torch.isfinite(tensor).all():
            raise WeightsRefused(checkpoint.not_finite(name, file, key))


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
