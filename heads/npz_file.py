"""Named arrays in one .npz file: written aside and renamed, read with every checksum compared, nothing pickled."""

from __future__ import annotations

import errno
import hashlib
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from keybed.heads.errors import CannotWrite, FileDamaged

_DAMAGE = (
    OSError, ValueError, EOFError, KeyError, IndexError, OverflowError, MemoryError, RuntimeError, NotImplementedError,
    zipfile.BadZipFile, zlib.error, struct.error, SyntaxError,
)  # fmt: skip
"""What zipfile and NumPy raise for a file that is cut, empty or has flipped bits."""


def write_npz(path: Path, arrays: Mapping[str, NDArray]) -> None:
    """Write arrays to `path` in one step. Raises CannotWrite (disk full, read-only); the file is then as it was before."""

    def save(partial: Path) -> None:
        with partial.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]

    write_aside(path, save)


def read_npz(path: Path, remedy: str, *, sha256: str | None = None) -> dict[str, NDArray]:
    """All arrays of the file. Raises FileDamaged, which ends with `remedy`, where it is cut or a checksum is wrong.

    sha256: of the whole file; without it the checksum of each array, which the file holds itself, is compared.
    """
    try:
        if sha256 is not None and sha256_of(path) != sha256:
            raise FileDamaged(f"{path} is damaged (its checksum differs); {remedy}")
        with zipfile.ZipFile(path) as file:
            bad = file.testzip()
        if bad is not None:
            raise FileDamaged(f"{path} is damaged (checksum of {bad}); {remedy}")
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except _DAMAGE as error:
        raise damaged(path, error, remedy) from error


def sha256_of(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def damaged(path: Path, error: Exception, remedy: str) -> FileDamaged:
    """The error for a file that cannot be read: what is wrong, and what to do."""
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
    return FileDamaged(f"{path} is damaged or no such file of keybed ({why}); {remedy}")


def write_aside(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a file beside `path`, fsync and rename it. Raises CannotWrite; the file beside is then removed."""
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(partial)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        why = "no disk space left (disk or quota)" if full else error.strerror or str(error)
        what = "free some, then run the same command again" if full else "make the folder writable or give another one"
        raise CannotWrite(f"{path} cannot be written: {why}; {what}") from error
