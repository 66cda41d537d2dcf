"""`keybed verify --repair`: remove bad commits, leftovers of killed tasks and damaged derived arrays.

Each shard is claimed while it is repaired, so that no task writes it at the same time.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from keybed.store.check.leftovers import (
    abandoned_encoders,
    data_files,
    find_leftovers,
    is_claim,
    shard_of,
    shards_with_uncommitted_files,
)
from keybed.store.disk.commits import committed
from keybed.store.disk.links import refuse_outside
from keybed.store.disk.removal import remove, remove_array
from keybed.store.errors import ShardBusy
from keybed.store.format.layout import Layout
from keybed.store.read.store import Store
from keybed.store.write.claims import claim_for_repair, claim_layers
from keybed.store.write.layers import files_of_gone, remove_layer_files


def repair(store: Store, bad: Iterable[tuple[str | None, int]], derived: Iterable[str]) -> list[Path]:
    """Remove the commits of the bad shards, leftovers, and the derived arrays at these paths. Returns the removed files.

    bad: (added layer, shard); None: of the rows and the encoders planned with them.

    Raises ShardBusy where another process holds a bad shard at this moment, ReadOnlyStore.
    """
    layout = Layout(store.path)
    for layer in store.parts:
        refuse_outside(layout.root, layout.of_layer(layer).claim_of(0))
    removed = []
    for layer, shard in bad:
        of_layer = layout.of_layer(layer)
        with claim_for_repair(store, shard, layer):
            # First and durably: no reader trusts a shard without a commit.
            remove(layout.root, [of_layer.commit_of(shard)])
            store.forget(shard, layer)
            removed += remove(layout.root, [*data_files(store, shard, layer), of_layer.log_of(shard)])
    leftovers = find_leftovers(store)
    for layer in store.parts:
        removed += _leftovers_of(store, layer, leftovers)
    for name in abandoned_encoders(store):
        with suppress(ShardBusy), claim_layers(layout, wait_s=0.0) as claim:
            files = [path for path in files_of_gone(store, name) if path.exists()]
            remove_layer_files(store, name, claim)
            removed += files
    removed += remove(layout.root, (path for path in leftovers if not _is_any_claim(store, path)))
    for path in derived:
        remove_array(layout.root, layout.array(path))
    return sorted(set(removed))


def _leftovers_of(store: Store, layer: str | None, leftovers: Iterable[Path]) -> list[Path]:
    """Remove dead claims of one part of the store, and data files without a commit."""
    layout = Layout(store.path, layer)
    removed = []
    claims = [path for path in leftovers if is_claim(layout, path)]
    dead = {shard for path in claims if (shard := shard_of(path)) is not None}
    for shard in sorted({*shards_with_uncommitted_files(store, layer), *dead}):
        try:
            with claim_for_repair(store, shard, layer):  # releasing it removes a dead claim as well
                if shard not in committed(layout):
                    removed += remove(layout.root, data_files(store, shard, layer))
        except ShardBusy:
            continue  # a task has claimed it meanwhile, so its files are that task's work
    return [*removed, *(path for path in claims if not path.exists())]


def _is_any_claim(store: Store, path: Path) -> bool:
    return any(is_claim(Layout(store.path, layer), path) for layer in store.parts)
