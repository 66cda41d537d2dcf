"""Checkpoint files, read without torch: are they whole, what is their hash, and which tensors do safetensors hold.

A sharded checkpoint is named by its index (`model.safetensors.index.json`); its parts lie beside it.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from keybed.extract.encoders.errors import WeightsRefused

INDEX = ".index.json"
WRAPPERS = ("module.", "model.", "_orig_mod.")
"""Put before every name by DataParallel, by a class around the model, and by torch.compile."""
_LFS = b"version https://git-lfs.github.com/spec/"
_NUMPY_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
"""Types of safetensors that weights may have; bfloat16 is read as the bits that it is."""
_CHUNK = 1 << 24


class HasShape(Protocol):
    """A torch tensor, or what a file says of one."""

    @property
    def shape(self) -> Sequence[int]:
        """Its length along every axis."""
        ...


@dataclass(frozen=True)
class TensorEntry:
    """What a header says of one tensor. dtype: in the words of safetensors, such as F32 or BF16."""

    shape: tuple[int, ...]
    dtype: str
    file: Path
    begin: int
    end: int


@dataclass(frozen=True)
class Shape:
    """A tensor that a model needs."""

    shape: tuple[int, ...]


def parts_of(name: str, file: Path) -> list[Path]:
    """The files of a checkpoint: itself, or the parts that its index names.

    Raises WeightsRefused where one is absent, or the index is damaged or names files of other folders.
    """
    if not file.is_file():
        link = f" (it is a link to {file.readlink()})" if file.is_symlink() else ""
        raise WeightsRefused(
            f"{name}: the checkpoint {file} is gone{link}; put it back or download it again, or correct its path in the "
            f"store's places.json"
        )
    if not file.name.endswith(INDEX):
        return [file]
    weight_map = json_or_empty(file.read_bytes()).get("weight_map")
    named = set(weight_map.values()) if isinstance(weight_map, dict) else set()
    if not named or not all(isinstance(part, str) and Path(part).name == part for part in named):
        raise WeightsRefused(f"{name}: {file} is no index of a sharded checkpoint; download it again")
    parts = [file.parent / part for part in sorted(named)]
    absent = [part.name for part in parts if not part.is_file()]
    if absent:
        raise WeightsRefused(
            f"{name}: {file} names {len(parts)} parts, of which {', '.join(absent[:4])} "
            f"{'is' if len(absent) == 1 else 'are'} absent; download the whole folder"
        )
    return parts


def check_whole(name: str, file: Path) -> None:
    """Raise WeightsRefused where a checkpoint is a Git LFS pointer or truncated: its zip or its tensors end too early."""
    for part in parts_of(name, file):
        size = part.stat().st_size
        with part.open("rb") as opened:
            head = opened.read(len(_LFS))
        check_no_pointer(name, part, head)
        if is_safetensors(part):
            whole = size == max((entry.end for entry in _entries(part).values()), default=-1)
        else:
            # torch.save writes a zip since 1.6; before that, a bare pickle, whose end only its reader can know.
            whole = zipfile.is_zipfile(part) if head.startswith(b"PK") else head.startswith(b"\x80")
        if not whole:
            raise WeightsRefused(
                f"{name}: {part} ({size:,} bytes) is cut short or is no checkpoint; remove it and download it again"
            )


def check_no_pointer(name: str, file: Path, head: bytes) -> None:
    """Raise WeightsRefused where a file begins as the text that Git LFS leaves in place of a large file."""
    if head.startswith(_LFS):
        raise WeightsRefused(
            f"{name}: {file} is a Git LFS pointer, a small text in place of the file itself; "
            f"run `git lfs pull` in its folder, or download the folder with `hf download`"
        )


def is_safetensors(file: Path) -> bool:
    """Whether a part or an index is of safetensors, by its name."""
    return file.name.removesuffix(INDEX).endswith(".safetensors")


def json_or_empty(data: bytes) -> dict[str, Any]:
    """A JSON object, or {} for anything else."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def sha256_of(name: str, file: Path) -> str:
    """SHA-256 of a checkpoint, in hexadecimal; of a sharded one, of its parts' names and hashes."""
    digests = {}
    for part in parts_of(name, file):
        with part.open("rb") as opened:
            digests[part.name] = hashlib.file_digest(opened, "sha256").hexdigest()
    if not file.name.endswith(INDEX):
        return digests[file.name]
    return hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()


def safetensors_entries(name: str, file: Path) -> dict[str, TensorEntry]:
    """Every tensor of a safetensors checkpoint by its name in the file."""
    return {key: entry for part in parts_of(name, file) for key, entry in _entries(part).items()}


def _entries(part: Path) -> dict[str, TensorEntry]:
    """The header's tensors; {} where it is none."""
    size = part.stat().st_size
    with part.open("rb") as opened:
        head = opened.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else size
        header = json_or_empty(opened.read(length)) if length < size else {}
    try:
        return {
            key: TensorEntry(
                tuple(int(n) for n in entry["shape"]),
                str(entry["dtype"]),
                part,
                *(8 + length + int(offset) for offset in entry["data_offsets"]),
            )
            for key, entry in header.items()
            if key != "__metadata__"
        }
    except (KeyError, TypeError, ValueError):
        return {}


def check_entries(name: str, entries: Mapping[str, TensorEntry]) -> None:
    """Raise WeightsRefused for tensors that are no floating-point numbers, or that hold NaN or infinities."""
    for key, entry in entries.items():
        if entry.dtype not in _NUMPY_TYPES:
            raise WeightsRefused(wrong_type(name, entry.file, key, entry.dtype))
        kind = np.dtype(_NUMPY_TYPES[entry.dtype])
        if math.prod(entry.shape) * kind.itemsize != entry.end - entry.begin:
            raise WeightsRefused(
                f"{name}: {entry.file} gives {key} the shape {entry.shape} and {entry.end - entry.begin:,} bytes, which "
                f"do not agree; download it again"
            )
        with entry.file.open("rb") as opened:
            opened.seek(entry.begin)
            for start in range(entry.begin, entry.end, _CHUNK):
                values = np.frombuffer(opened.read(min(_CHUNK, entry.end - start)), kind)
                if entry.dtype == "BF16":
                    finite = bool(((values & 0x7F80) != 0x7F80).all())
                else:
                    finite = bool(np.isfinite(values).all())
                if not finite:
                    raise WeightsRefused(not_finite(name, entry.file, key))


def wrong_type(name: str, file: Path, key: str, dtype: str) -> str:
    """The message about weights of a type that is not computed."""
    return (
        f"{name}: {file} holds {key} as {dtype}; weights must be float32, float16, bfloat16 or float64. "
        f"Quantised weights are not read: give the unquantised checkpoint"
    )


def not_finite(name: str, file: Path, key: str) -> str:
    """The message about weights that are no numbers."""
    return (
        f"{name}: {file} holds NaN or infinite weights in {key}; the checkpoint is damaged, or its training diverged: "
        f"download it again, or take an earlier one"
    )


def unwrapped(name: str, *more: str) -> str:
    """A tensor's name without the prefixes of wrappers, and without `more`, however they are nested."""
    prefixes = (*WRAPPERS, *more)
    while (prefix := next((p for p in prefixes if name.startswith(p)), None)) is not None:
        name = name.removeprefix(prefix)
    return name


def linear(name: str, width_in: int, width_out: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a linear layer's weight and bias."""
    return {f"{name}.weight": (width_out, width_in), f"{name}.bias": (width_out,)}


def norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a layer norm's weight and bias."""
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def compare_tensors(
    name: str,
    file: Path | str,
    wanted: Mapping[str, HasShape],
    given: Mapping[str, HasShape],
    optional: Iterable[str] = (),
) -> None:
    """Raise WeightsRefused with the names of tensors that are missing, unexpected or of another shape.

    optional: names that may be given or not.
    """
    missing = sorted(set(wanted) - set(given) - set(optional))
    unexpected = sorted(set(given) - set(wanted) - set(optional))
    shapes = [
        f"{key} {tuple(given[key].shape)} for {tuple(wanted[key].shape)}"
        for key in sorted(set(wanted) & set(given))
        if tuple(wanted[key].shape) != tuple(given[key].shape)
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
