"""Leftovers: files that killed tasks have left behind. Nothing of a shard under a live claim counts."""

from __future__ import annotations

import re
from pathlib import Path

from keybed.store.disk.commits import committed
from keybed.store.disk.durable import PARTIAL, server_now
from keybed.store.disk.layer_files import marked_names
from keybed.store.disk.staging import DERIVED, abandoned_stagings
from keybed.store.errors import ReadOnlyStore
from keybed.store.format.array_specs import task_written
from keybed.store.format.layer import name_problems
from keybed.store.format.layout import Layout, object_key
from keybed.store.read.store import Store
from keybed.store.write.claim_files import claimed_shards, live_claims, read_claim
from keybed.store.write.layers import files_of_gone
from keybed.store.write.logs import unreadable_logs

_CLAIMS = re.compile(
    rf"(\d+|layers)\.json|(\d+|layers)\.[0-9a-f]+\.stale|\.now-[0-9a-f]+|.*{re.escape(PARTIAL)}", re.ASCII
)
_SHARD = re.compile(r"(?:c\.)?(\d+)\.")


def find_leftovers(store: Store) -> list[Path]:
    """Partly written files, dead claims, clock probes, unreadable logs, abandoned folders of `derive`, `extend` and `drop`.

    Files of shards under a live claim do not count, and of claims/ only the kinds of files that Keybed makes there.
    """
    layout = Layout(store.path)
    left = [path for layer in store.parts for path in _of_part(store, layer)]
    gone = [path for name in abandoned_encoders(store) for path in files_of_gone(store, name)]
    return sorted({*left, *gone, *abandoned_stagings(layout.root, DERIVED)})


def _of_part(store: Store, layer: str | None) -> list[Path]:
    layout = Layout(store.path, layer)
    paths = [path for path in layout.features.rglob(f"*{PARTIAL}") if part_of(store, path) == layer]
    folders = [layout.commits, layout.logs] if layer else [layout.root, layout.layers, layout.commits, layout.logs]
    for folder in folders:
        paths += folder.glob(f"*{PARTIAL}")
    if layout.claims.is_dir():
        paths += (path for path in layout.claims.iterdir() if path.is_file() and _CLAIMS.fullmatch(path.name))
    live = shards_in_work(layout)  # after the listing, so that files of a task that starts now are in no list
    changing = layer is None and layers_in_work(layout)
    left = [
        path
        for path in paths
        if (shard_of(path) not in live or path.suffix not in (PARTIAL, ".json"))
        and not (changing and (path.name == "layers.json" or path.parent == layout.layers))
    ]
    return [*left, *unreadable_logs(layout)]


def part_of(store: Store, path: Path) -> str | None:
    """The added layer to whose arrays, claims, commits or logs a file belongs; None for everything else."""
    within = path.relative_to(store.path).parts
    name = within[2] if within[0] == "features.zarr" and len(within) > 3 else within[1] if len(within) > 2 else ""
    return name if name in store.layers and within[1] != "derived" else None


def abandoned_encoders(store: Store) -> list[str]:
    """Encoders of which files are left though the store does not have them: `extend` or `drop` was killed.

    Not those whose shards are committed and whose records are lost: that is damage.
    """
    layout = Layout(store.path)
    if layers_in_work(layout):
        return []
    known = {*store.layers, *store.unreadable_layers}
    begun = {entry.name for entry in layout.commits.iterdir() if entry.is_dir()} if layout.commits.is_dir() else set()
    begun = {name for name in begun if not name_problems(name) and not committed(layout.of_layer(name))}
    names = ({*begun, *marked_names(layout)}) - known
    return [name for name in sorted(names) if files_of_gone(store, name)]


def find_uncommitted_files(store: Store) -> list[Path]:
    """Data files of shards without commit and live claim: their task was killed before it could commit them."""
    return [
        path
        for layer in store.parts
        for shard in shards_with_uncommitted_files(store, layer)
        for path in data_files(store, shard, layer)
    ]


def shards_with_uncommitted_files(store: Store, layer: str | None = None) -> list[int]:
    """Shards that have data files but neither a commit nor a live claim."""
    done = store.shards_of_layer(layer).numbers
    candidates = set(range(store.n_shards)) - done - shards_in_work(Layout(store.path, layer))
    return [shard for shard in sorted(candidates) if data_files(store, shard, layer)]


def data_files(store: Store, shard: int, layer: str | None = None) -> list[Path]:
    """The data files of one shard that exist; empty for a shard that this store does not have."""
    layout = Layout(store.path)
    if shard >= store.n_shards:
        return []
    specs = task_written(store.shards_of_layer(layer).specs)
    files = (layout.array(spec.path) / object_key(shard, len(spec.shape)) for spec in specs)
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


def layers_in_work(layout: Layout) -> bool:
    """Whether an encoder is being added or dropped at this moment."""
    if not layout.claim_of(None).exists():
        return False
    try:
        state = read_claim(layout, None, server_now(layout.claims))
    except ReadOnlyStore:
        return True
    return state is not None and state.is_live()


def shard_of(path: Path) -> int | None:
    """The shard that a file in features, claims, commits or logs belongs to, by its name; None where it names none."""
    match = _SHARD.match(path.name)
    return int(match[1]) if match else None
