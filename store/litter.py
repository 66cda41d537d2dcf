"""What killed tasks leave behind, and how it goes away without touching a live one's work."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from store.claims import STALE_AFTER_S, read_holder
from store.durable import PARTIAL, disk_error, server_now, sync_folder
from store.errors import ReadOnlyStore
from store.layout import Layout, object_key
from store.reader import Store

_SHARD = re.compile(r"(?:c\.)?(\d+)\.")


def find_litter(layout: Layout) -> list[Path]:
    """Files cut short, claims of dead tasks, clock probes; never anything of a shard under a live claim."""
    live = live_claims(layout)
    found = [path for path in layout.features.rglob(f"*{PARTIAL}") if shard_of(path) not in live]
    for folder in (layout.commits, layout.logs):
        found += [path for path in folder.glob(f"*{PARTIAL}") if shard_of(path) not in live]
    found += [path for path in layout.claims.iterdir() if path.suffix != ".json" or shard_of(path) not in live]
    return sorted(found)


def find_unproven(store: Store) -> list[Path]:
    """Data files of shards that have no commit and no live claim: a task was killed before it could prove them."""
    layout = Layout(store.path)
    open_shards = set(range(store.n_shards)) - store.committed - live_claims(layout)
    found = []
    for spec in store.specs:
        if spec.writer == "task":
            names = (object_key(shard, len(spec.shape)) for shard in sorted(open_shards))
            found += [path for name in names if (path := layout.array(spec.path) / name).exists()]
    return found


def live_claims(layout: Layout) -> frozenset[int]:
    """Shards that somebody is working on, as far as anyone can know."""
    claims = [path for path in layout.claims.glob("*.json") if path.stem.isdecimal()]
    if not claims:
        return frozenset()
    try:
        now = server_now(layout.claims)
    except ReadOnlyStore:  # nothing can be removed from it either, so every claim may as well be live
        return frozenset(int(path.stem) for path in claims)
    live = set()
    for path in claims:
        holder = read_holder(path)
        if path.exists() and now - path.stat().st_mtime <= STALE_AFTER_S and not (holder and holder.surely_dead()):
            live.add(int(path.stem))
    return frozenset(live)


def uncommit(store: Store, shard: int) -> list[Path]:
    """Take back the commit of one shard, durably and first of all; returns its other files, to be removed next."""
    layout = Layout(store.path)
    remove([layout.commit_of(shard)])
    store.forget(shard)
    if shard >= store.n_shards:
        return []
    objects = [layout.array(s.path) / object_key(shard, len(s.shape)) for s in store.specs if s.writer == "task"]
    return [path for path in [*objects, layout.log_of(shard)] if path.exists()]


def remove(paths: Iterable[Path]) -> None:
    """Unlink files and make it durable. Raises ReadOnlyStore."""
    folders = set()
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise disk_error(error, path) from error
        folders.add(path.parent)
    for folder in folders:
        sync_folder(folder)


def shard_of(path: Path) -> int | None:
    """The shard that a file in features, claims, commits or logs belongs to, by its name."""
    match = _SHARD.match(path.name)
    return int(match[1]) if match else None
