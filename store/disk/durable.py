"""Writing that survives a crash: write a new file beside the old one, fsync, rename, fsync the folder."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BufferedRandom
from pathlib import Path
from typing import Any

from keybed.store.errors import NoDiskSpace, ReadOnlyStore, ShardDamaged, StoreError

PARTIAL = ".partial"
"""Suffix of a file that is still being written; only a killed process leaves one."""

_BLOCK = 1 << 22


def canonical(data: Any) -> bytes:
    """JSON with sorted keys and one trailing newline; equal data give equal bytes. Raises ValueError for NaN."""
    return (json.dumps(data, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def disk_error(error: OSError, path: Path) -> StoreError:
    """The named error for an OSError raised while writing `path`."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoDiskSpace(
            f"no disk space left (disk or quota) while writing {path}: free some, then run the same command again"
        )
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return ReadOnlyStore(
            f"{path} cannot be written ({error.strerror}): the folder is read-only, or belongs to another user"
        )
    return StoreError(f"writing {path} failed: {error.strerror or error}")


def sync_folder(folder: Path) -> None:
    """fsync a folder, so that files created and renamed in it survive a crash."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_tree(root: Path) -> None:
    """fsync every file and folder under root, deepest first."""
    for folder, _, names in os.walk(root, topdown=False):
        for name in names:
            handle = os.open(Path(folder, name), os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        sync_folder(Path(folder))


def sha256_of(path: Path) -> str:
    """sha256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def replace_file(path: Path) -> Iterator[BufferedRandom]:
    """Open a new file beside `path` for writing; when the block ends, fsync it and rename it to `path`.

    A crash leaves the old file or the new one, never a part. If the block raises, `path` stays as it was and the new
    file is removed. Raises OSError (disk full, read-only).
    """
    partial = _partial(path)
    try:
        with partial.open("w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        _publish(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_aside(path: Path, data: bytes | memoryview) -> tuple[Path, str]:
    """Write data to a new file beside `path`, fsync, and compare the sha256 of what the disk returns.

    Returns (the new file, which the caller renames, and its sha256). Raises NoDiskSpace, ReadOnlyStore, StoreError, and
    ShardDamaged when what was read back differs; the new file is removed then.
    """
    partial = _partial(path)
    digest = hashlib.sha256(data).hexdigest()
    with _removed_on_error(partial, path):
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # read back from the disk, not from memory
        if sha256_of(partial) != digest:
            raise ShardDamaged(f"{path}: what was read back is not what was written; the disk or its link is failing")
    return partial, digest


def write_durably(path: Path, data: bytes, *, before_publishing: Callable[[], None] | None = None) -> None:
    """Replace `path` as `replace_file` does, after reading the bytes back as `write_aside` does, with its errors.

    before_publishing is called before the rename; if it raises, `path` stays as it was.
    """
    partial, _ = write_aside(path, data)
    with _removed_on_error(partial, path):
        if before_publishing is not None:
            before_publishing()
        _publish(partial, path)


def _partial(path: Path) -> Path:
    return path.with_name(f"{path.name}.{uuid.uuid4().hex[:12]}{PARTIAL}")


@contextmanager
def _removed_on_error(partial: Path, path: Path) -> Iterator[None]:
    """Remove the partial file where the block raises; an OSError becomes the named error about `path`."""
    try:
        yield
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise disk_error(error, path) from error
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _publish(partial: Path, path: Path) -> None:
    partial.replace(path)
    sync_folder(path.parent)


def server_now(folder: Path) -> float:
    """The file server's clock in seconds since the epoch, from the time of a file created in `folder`.

    Clocks of hosts may differ by minutes. Raises ReadOnlyStore, NoDiskSpace, StoreError.
    """
    probe = folder / f".now-{uuid.uuid4().hex[:12]}"
    try:
        with probe.open("xb") as file:
            now = os.fstat(file.fileno()).st_mtime
        probe.unlink(missing_ok=True)  # a repair may have removed it
    except OSError as error:
        raise disk_error(error, probe) from error
    return now
