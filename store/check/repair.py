"""`keybed verify --repair`: remove bad commits, leftovers of killed tasks and damaged derived arrays.

Each shard is claimed while it is repaired, so that no task writes it at the same time.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from keybed.store.check.leftovers import (
    data_files,
    find_leftovers,
    is_claim,
    shard_of,
    shards_with_uncommitted_files,
)
from keybed.store.disk.commits import committed
from keybed.store.disk.durable import disk_error, sync_folder
from keybed.store.disk.links import refuse_outside
from keybed.store.errors import ShardBusy
from keybed.store.format.layout import Layout
from keybed.store.read.store import Store
from keybed.store.write.claims import claim_for_repair


def repair(store: Store, bad: Iterable[int], derived: Iterable[str]) -> list[Path]:
    """Remove the commits of the bad shards, leftovers, and the derived arrays at these paths. Returns the removed files.

    Raises ShardBusy where another process holds a bad shard at this moment, ReadOnlyStore.
    """
    layout = Layout(store.path)
    refuse_outside(layout.root, layout.claim_of(0))
    removed = []
    for shard in bad:
        with claim_for_repair(store, shard):
            _remove(
                layout.root, [layout.commit_of(shard)]
            )  # first and durably: no reader trusts a shard without a commit
            store.forget(shard)
            removed += _remove(layout.root, [*data_files(store, shard), layout.log_of(shard)])
    leftovers = find_leftovers(layout)
    dead = {shard_of(path) for path in leftovers if is_claim(layout, path)}
    for shard in sorted({*shards_with_uncommitted_files(store), *(shard for shard in dead if shard is not None)}):
        try:
            with claim_for_repair(store, shard):  # releasing it removes a dead claim as well
                if shard not in committed(layout):
                    removed += _remove(layout.root, data_files(store, shard))
        except ShardBusy:
            continue  # a task has claimed it meanwhile, so its files are that task's work
    removed += [path for path in leftovers if is_claim(layout, path) and not path.exists()]
    removed += _remove(layout.root, (path for path in leftovers if not is_claim(layout, path)))
    for path in derived:
        _remove_array(layout.root, layout.array(path))
    return sorted(removed)


def _remove(root: Path, paths: Iterable[Path]) -> list[Path]:
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
        sync_folder(folder)
    return removed


def _remove_array(root: Path, folder: Path) -> None:
    """Delete an array, its metadata first, so that a crash leaves no array with a part of its files."""
    _remove(root, [folder / "zarr.json"])
    _remove(root, [folder])
