"""Delete files and folders of a store durably, and nothing outside it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from keybed.store.disk.durable import disk_error, sync_folder
from keybed.store.disk.links import refuse_outside


def remove(root: Path, paths: Iterable[Path]) -> list[Path]:
    """Delete those of the files and folders that exist, durably, and return them. Raises ReadOnlyStore, StoreError."""
    removed = []
    for path in paths:
        if os.path.lexists(path):
            refuse_outside(root, path)
            try:
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
            except OSError as error:
                raise disk_error(error, path) from error
            removed.append(path)
    for folder in {path.parent for path in removed}:
        if folder.is_dir():  # otherwise it was removed too
            sync_folder(folder)
    return removed


def remove_array(root: Path, folder: Path) -> None:
    """Delete an array, its metadata first, so that a crash leaves no array with a part of its files."""
    remove(root, [folder / "zarr.json"])
    remove(root, [folder])
