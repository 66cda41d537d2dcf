"""`verify --repair`: bad commits taken back, remains of killed tasks removed, every shard under a claim meanwhile."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from keybed.store.check.leftovers import find_leftovers, is_claim, objects_of, shard_of, uncommitted
from keybed.store.disk.commits import committed
from keybed.store.disk.durable import disk_error, sync_folder
from keybed.store.errors import ShardBusy
from keybed.store.format.layout import Layout
from keybed.store.read.store import Store
from keybed.store.write.claims import claim_for_repair


def repair(store: Store, bad: Iterable[int], derived: Iterable[str]) -> list[Path]:
    """Un-commit the bad shards, remove litter and these derived arrays; returns the files that are gone.

    Raises ShardBusy where somebody holds a bad shard at this moment, ReadOnlyStore.
    """
    layout = Layout(store.path)
    gone = []
    for shard in bad:
        with claim_for_repair(store, shard):
            _remove([layout.commit_of(shard)])  # durably and first of all: what has no commit is trusted by nobody
            store.forget(shard)
            gone += _remove([*objects_of(store, shard), layout.log_of(shard)])
    litter = find_leftovers(layout)
    dead = {shard_of(path) for path in litter if is_claim(layout, path)}
    for shard in sorted({*uncommitted(store), *(shard for shard in dead if shard is not None)}):
        try:
            with claim_for_repair(store, shard):  # a dead claim goes with it
                if shard not in committed(layout):
                    gone += _remove(objects_of(store, shard))
        except ShardBusy:
            continue  # a task took it up since the look; what it writes is its own
    gone += [path for path in litter if is_claim(layout, path) and not path.exists()]
    gone += _remove(path for path in litter if not is_claim(layout, path))
    for path in derived:
        _remove_array(layout.array(path))
    return sorted(gone)


def _remove(paths: Iterable[Path]) -> list[Path]:
    """Unlink those of the files that exist, and make it durable. Raises ReadOnlyStore."""
    removed = []
    for path in paths:
        if path.exists():
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise disk_error(error, path) from error
            removed.append(path)
    for folder in {path.parent for path in removed}:
        sync_folder(folder)
    return removed


def _remove_array(folder: Path) -> None:
    """The metadata first, so that no half of an array is ever taken for a whole one."""
    _remove([folder / "zarr.json"])
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise disk_error(error, folder) from error
    sync_folder(folder.parent)
