"""What killed tasks leave behind, told apart from a live one's work."""

from __future__ import annotations

import re
from pathlib import Path

from keybed.store.disk.durable import PARTIAL, server_now
from keybed.store.errors import ReadOnlyStore
from keybed.store.format.layout import Layout, object_key
from keybed.store.read.store import Store
from keybed.store.write.claims import STALE_AFTER_S, read_holder

_SHARD = re.compile(r"(?:c\.)?(\d+)\.")


def find_leftovers(layout: Layout) -> list[Path]:
    """Files cut short, claims of dead tasks, clock probes; never anything of a shard under a live claim."""
    found = list(layout.features.rglob(f"*{PARTIAL}"))
    for folder in (layout.root, layout.commits, layout.logs):
        found += folder.glob(f"*{PARTIAL}")
    found += layout.claims.iterdir()
    live = live_claims(layout)  # after the listing: what a task began since then is in neither
    return sorted(path for path in found if shard_of(path) not in live or path.suffix not in (PARTIAL, ".json"))


def find_unproven(store: Store) -> list[Path]:
    """Data files of shards that have no commit and no live claim: a task was killed before it could prove them."""
    return [path for shard in uncommitted(store) for path in objects_of(store, shard)]


def uncommitted(store: Store) -> list[int]:
    """Shards without commit and live claim of which there are data files all the same."""
    open_shards = set(range(store.n_shards)) - store.committed - live_claims(Layout(store.path))
    return [shard for shard in sorted(open_shards) if objects_of(store, shard)]


def objects_of(store: Store, shard: int) -> list[Path]:
    """The data files of one shard that exist."""
    layout = Layout(store.path)
    if shard >= store.n_shards:
        return []
    objects = (layout.array(s.path) / object_key(shard, len(s.shape)) for s in store.specs if s.writer == "task")
    return [path for path in objects if path.exists()]


def is_claim(layout: Layout, path: Path) -> bool:
    """True for the claim of one shard, dead or alive."""
    return path.parent == layout.claims and path.suffix == ".json" and path.stem.isdecimal()


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
        try:
            age_s = now - path.stat().st_mtime
        except FileNotFoundError:
            continue  # released between the listing and now
        if age_s <= STALE_AFTER_S and not (holder and holder.surely_dead()):
            live.add(int(path.stem))
    return frozenset(live)


def shard_of(path: Path) -> int | None:
    """The shard that a file in features, claims, commits or logs belongs to, by its name."""
    match = _SHARD.match(path.name)
    return int(match[1]) if match else None
