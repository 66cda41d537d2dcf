"""Leftovers: files that killed tasks have left behind. Nothing of a shard under a live claim counts."""

from __future__ import annotations

import re
from pathlib import Path

from keybed.store.disk.durable import PARTIAL, server_now
from keybed.store.disk.staging import DERIVED, abandoned_stagings
from keybed.store.errors import ReadOnlyStore
from keybed.store.format.array_specs import task_written
from keybed.store.format.layout import Layout, object_key
from keybed.store.read.store import Store
from keybed.store.write.claim_files import claimed_shards, live_claims
from keybed.store.write.logs import unreadable_logs

_CLAIMS = re.compile(rf"\d+\.json|\d+\.[0-9a-f]+\.stale|\.now-[0-9a-f]+|.*{re.escape(PARTIAL)}", re.ASCII)
_SHARD = re.compile(r"(?:c\.)?(\d+)\.")


def find_leftovers(layout: Layout) -> list[Path]:
    """Partly written files, dead claims, clock probes, unreadable logs and abandoned staging folders of `keybed derive`.

    Files of shards under a live claim do not count, and of claims/ only the kinds of files that Keybed makes there.
    """
    paths = list(layout.features.rglob(f"*{PARTIAL}"))
    for folder in (layout.root, layout.commits, layout.logs):
        paths += folder.glob(f"*{PARTIAL}")
    if layout.claims.is_dir():
        paths += (path for path in layout.claims.iterdir() if _CLAIMS.fullmatch(path.name))
    live = shards_in_work(layout)  # after the listing, so that files of a task that starts now are in no list
    left = [path for path in paths if shard_of(path) not in live or path.suffix not in (PARTIAL, ".json")]
    return sorted([*left, *unreadable_logs(layout), *abandoned_stagings(layout.root, DERIVED)])


def find_uncommitted_files(store: Store) -> list[Path]:
    """Data files of shards without commit and live claim: their task was killed before it could commit them."""
    return [path for shard in shards_with_uncommitted_files(store) for path in data_files(store, shard)]


def shards_with_uncommitted_files(store: Store) -> list[int]:
    """Shards that have data files but neither a commit nor a live claim."""
    candidates = set(range(store.n_shards)) - store.committed - shards_in_work(Layout(store.path))
    return [shard for shard in sorted(candidates) if data_files(store, shard)]


def data_files(store: Store, shard: int) -> list[Path]:
    """The data files of one shard that exist; empty for a shard that this store does not have."""
    layout = Layout(store.path)
    if shard >= store.n_shards:
        return []
    files = (layout.array(spec.path) / object_key(shard, len(spec.shape)) for spec in task_written(store.specs))
    return [path for path in files if path.exists()]


def is_claim(layout: Layout, path: Path) -> bool:
    """True for the claim file of one shard, live or dead."""
    return path.parent == layout.claims and path.suffix == ".json" and path.stem.isdecimal()


def shards_in_work(layout: Layout) -> frozenset[int]:
    """Shards under a live claim. In a read-only store, where no clock can be read, every claim counts as live."""
    claimed = claimed_shards(layout)
    if not claimed:
        return frozenset()
    try:
        now = server_now(layout.claims)
    except ReadOnlyStore:
        return frozenset(claimed)
    return frozenset(state.shard for state in live_claims(layout, now))


def shard_of(path: Path) -> int | None:
    """The shard that a file in features, claims, commits or logs belongs to, by its name; None where it names none."""
    match = _SHARD.match(path.name)
    return int(match[1]) if match else None
