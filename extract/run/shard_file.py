"""Arrays of one shard in a file without a name: worker processes write their rows into it, the task reads it.

The file is memory of the kernel (memfd, which needs no /dev/shm and has no size limit of its own) or an unlinked file in a
scratch folder. A worker opens it through the task's open file in /proc. It ends with the last process that holds it, so that
a kill leaves nothing behind.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from keybed.store.disk.durable import disk_error
from keybed.store.errors import KeybedError

_ALIGNMENT = 4096


class NoSharedFile(KeybedError):
    """The file that waveforms and features pass through cannot be made or opened."""


@dataclass(frozen=True)
class RowArray:
    """One array of the file: `shape` and `dtype` of one row, and where row 0 begins."""

    shape: tuple[int, ...]
    dtype: str
    offset: int = 0

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class RowsTarget:
    """Where a worker writes the rows of one segment, the first of which is `first_row` of the shard."""

    path: str
    identity: tuple[int, int]
    """Device and inode: the task may have closed the file and opened another one under its number."""
    arrays: Mapping[str, RowArray]
    first_row: int

    def write(self, values: Mapping[str, np.ndarray]) -> None:
        """Write rows of some arrays. values: (rows, …) in the array's dtype. Raises NoSharedFile, NoDiskSpace."""
        try:
            file = os.open(self.path, os.O_WRONLY | os.O_CLOEXEC)
        except OSError as error:
            raise NoSharedFile(
                f"{self.path}: a process that renders cannot open the file of its task ({error.strerror}); "
                "`keybed extract --workers 0` works without it"
            ) from error
        try:
            status = os.fstat(file)
            if (status.st_dev, status.st_ino) != self.identity:
                raise NoSharedFile(f"{self.path}: the task no longer waits for these rows")
            for name, rows in values.items():
                array = self.arrays[name]
                if rows.shape[1:] != array.shape or rows.dtype != array.dtype:
                    raise ValueError(
                        f"{name}: {rows.dtype} {rows.shape[1:]}, the file holds {array.dtype} {array.shape}"
                    )
                _write_all(file, rows, array.offset + self.first_row * array.row_bytes)
        except OSError as error:
            raise disk_error(error, Path(self.path)) from error
        finally:
            os.close(file)


def _write_all(file: int, values: np.ndarray, offset: int) -> None:
    left = np.ascontiguousarray(values).view(np.uint8).reshape(-1)
    while left.size:
        written = os.pwrite(file, left.data, offset)
        left, offset = left[written:], offset + written


class ShardFile(Mapping[str, np.ndarray]):
    """The file of one shard. `file[name]` is an array (rows, …) of it, read-only.

    rows: name → shape and dtype of one row. folder: of the unlinked file; None keeps it in memory. Raises NoSharedFile;
    StoreError, NoDiskSpace where the disk of `folder` is full.
    """

    def __init__(
        self, n_rows: int, rows: Mapping[str, tuple[tuple[int, ...], str]], folder: Path | None = None
    ) -> None:
        self._rows, self._n_rows = dict(rows), n_rows
        self._arrays, end = {}, 0
        for name, (shape, dtype) in rows.items():
            array = self._arrays[name] = RowArray(shape, dtype, end)
            end = -(-(end + n_rows * array.row_bytes) // _ALIGNMENT) * _ALIGNMENT
        self._file = _in_memory(end) if folder is None else _in_folder(folder, end)
        self._mapped: dict[str, np.ndarray] = {
            name: np.memmap(self._file, array.dtype, "r", array.offset, (n_rows, *array.shape)).view(np.ndarray)
            for name, array in self._arrays.items()
        }

    def __getitem__(self, name: str) -> np.ndarray:
        return self._mapped[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._mapped)

    def __len__(self) -> int:
        return len(self._mapped)

    def fits(self, n_rows: int, rows: Mapping[str, tuple[tuple[int, ...], str]]) -> bool:
        """Whether the file can hold so many rows of these arrays."""
        return n_rows <= self._n_rows and dict(rows) == self._rows

    def target(self, first_row: int) -> RowsTarget:
        """Where to write the rows from `first_row` on."""
        status = os.fstat(self._file.fileno())
        path = f"/proc/{os.getpid()}/fd/{self._file.fileno()}"
        return RowsTarget(path, (status.st_dev, status.st_ino), self._arrays, first_row)

    def close(self) -> None:
        """Free the file. Arrays that are still in use stay readable."""
        self._mapped.clear()
        self._file.close()


class ShardFiles:
    """The files of a task's shards. One whose rows have been used serves a later shard, so that its pages are made once.

    folder: as in ShardFile.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._free: list[ShardFile] = []

    def take(self, n_rows: int, rows: Mapping[str, tuple[tuple[int, ...], str]]) -> ShardFile:
        """A file for these arrays; it may hold more rows, and bytes of another shard. Raises what ShardFile raises."""
        for index, file in enumerate(self._free):
            if file.fits(n_rows, rows):
                return self._free.pop(index)
        return ShardFile(n_rows, rows, self._folder)

    def give_back(self, file: ShardFile) -> None:
        """Keep a file for a later shard. No worker may write into it any more."""
        self._free.append(file)

    def close(self) -> None:
        """Free the files that are not in use."""
        while self._free:
            self._free.pop().close()


def _in_memory(n_bytes: int) -> IO[Any]:
    file = None
    try:
        file = os.fdopen(os.memfd_create("keybed-shard"), "r+b")
        file.truncate(n_bytes)
    except OSError as error:
        if file is not None:
            file.close()
        raise NoSharedFile(
            f"no memory of {n_bytes / 1e9:.2f} GB for the rows of a shard ({error.strerror}): give --scratch FOLDER, on a "
            "local disk"
        ) from error
    return file


def _in_folder(folder: Path, n_bytes: int) -> IO[Any]:
    """An unlinked temporary file whose bytes are all on the disk, so that a full disk is found before any row is made."""
    file = None
    try:
        file = tempfile.TemporaryFile(dir=folder, prefix="keybed-")  # noqa: SIM115
        os.posix_fallocate(file.fileno(), 0, n_bytes)
    except OSError as error:
        if file is not None:
            file.close()
        raise disk_error(error, folder) from error
    return file
