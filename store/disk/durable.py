"""Writing that survives a crash: aside, fsync, rename, fsync of the folder."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from keybed.store.errors import NoDiskSpace, ReadOnlyStore, ShardDamaged, StoreError

PARTIAL = ".partial"
"""Suffix of a file that is still being written; left behind only by a kill."""

_BLOCK = 1 << 22


def canonical(data: Any) -> bytes:
    """JSON with sorted keys and one trailing newline: equal data, equal bytes. NaN is refused."""
    return (json.dumps(data, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def disk_error(error: OSError, path: Path) -> StoreError:
    """The named error for an OSError met while writing `path`."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoDiskSpace(
            f"no room left (disk or quota) while writing {path}: free some, then run the same command again"
        )
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return ReadOnlyStore(
            f"{path} cannot be written ({error.strerror}): is the store read-only, or owned by another?"
        )
    return StoreError(f"writing {path} failed: {error.strerror or error}")


def sync_folder(folder: Path) -> None:
    """Make renames and new names in this folder durable."""
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


def write_aside(path: Path, data: bytes | memoryview) -> tuple[Path, str]:
    """Write next to `path`, fsync, read back past the page cache, compare sha256. Returns (partial file, sha256).

    Raises NoDiskSpace or ReadOnlyStore, ShardDamaged when what was read back differs; nothing is left behind then.
    """
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex[:12]}{PARTIAL}")
    digest = hashlib.sha256(data).hexdigest()
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        if sha256_of(partial) != digest:
            raise ShardDamaged(f"{path}: what was read back is not what was written; the disk or its link is failing")
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise disk_error(error, path) from error
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    return partial, digest


def write_durably(path: Path, data: bytes, *, before_publishing: Callable[[], None] | None = None) -> None:
    """Replace `path` in one step that a crash cannot split. `before_publishing` may still raise and stop it."""
    partial, _ = write_aside(path, data)
    try:
        if before_publishing is not None:
            before_publishing()
        partial.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise disk_error(error, path) from error
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def server_now(folder: Path) -> float:
    """The file server's own clock, by touching a file: hosts' clocks may disagree by minutes."""
    probe = folder / f".now-{uuid.uuid4().hex[:12]}"
    try:
        with probe.open("xb") as file:
            now = os.fstat(file.fileno()).st_mtime
        probe.unlink(missing_ok=True)  # a repair may have swept it
    except OSError as error:
        raise disk_error(error, probe) from error
    return now
