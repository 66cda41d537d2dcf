"""Open a store: read its records, compare them with their checksums, and see that every file is there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from keybed.store.command import command
from keybed.store.counted import counted
from keybed.store.disk.layer_files import dropped_names, layer_way_out, listing, lost_names
from keybed.store.disk.missing_files import missing_array_files, missing_files
from keybed.store.disk.planned_files import way_out
from keybed.store.errors import NotAStore, ShardDamaged
from keybed.store.format.layout import Layout
from keybed.store.format.splits import checked_splits
from keybed.store.read.layers import planned_with_layers, read_layers
from keybed.store.read.recipe_file import read_recipe
from keybed.store.read.store import Store
from keybed.store.remote.address import RemoteRefused, is_url

if TYPE_CHECKING:
    from keybed.store.remote.mirror import Mirror


def open_store(path: str | Path, *, even_if_damaged: bool = False) -> Store:
    """Open a store for reading, also while tasks still fill it.

    path: its folder, or the URL of a published store (`hf://datasets/OWNER/NAME`, `s3://BUCKET/FOLDER`, `https://…`), whose
    files are fetched when they are read and kept in a bounded folder on this machine (docs/sharing.md).

    An example, on a store of 8 rows of which half are made:

    >>> import keybed
    >>> store = keybed.open("STORE")
    >>> rows = store.rows(allow_missing=True)  # without it, a store that is not full is refused
    >>> len(rows), rows[0].tier
    (4, 'pristine')
    >>> poor = rows[rows.tier == "poor"]
    >>> poor.score.shape  # (row, dimension), 0 to 100; poor.valid says where a score counts
    (1, 8)
    >>> store.read("audio/logmel/frames", poor.index).shape  # (row, bin, statistic, channel)
    (1, 4, 2, 8)

    Raises NotAStore (not a store, only part of one, damaged), NewerFormat, RemoteRefused and RemoteUnreachable.

    recipe.json, recordings.json and all metadata are compared with the checksums in commits/plan.json.
    even_if_damaged: neither that, nor that every file exists; for `verify` and repair.
    """
    if is_url(str(path)):
        return _opened_remote(str(path), even_if_damaged=even_if_damaged)
    layout = Layout(Path(path).absolute())
    while True:
        before = listing(layout)
        try:
            return _opened(layout, even_if_damaged=even_if_damaged)
        except NotAStore:
            if listing(layout) == before:
                raise  # otherwise an encoder was dropped at this moment: look again


def _opened_remote(url: str, *, even_if_damaged: bool) -> Store:
    from keybed.store.remote.open import mirror_of

    if even_if_damaged:
        raise RemoteRefused(f"{url} is read only: this command needs a store on this machine's disk")
    mirror = mirror_of(url)
    return _opened(Layout(mirror.root), even_if_damaged=False, mirror=mirror)


def _opened(layout: Layout, *, even_if_damaged: bool, mirror: Mirror | None = None) -> Store:
    path = layout.root
    recipe, group = read_recipe(layout)
    try:
        splits = checked_splits(group["splits"], recipe.n_rows)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NotAStore(f"{path}/features.zarr/zarr.json: wrong splits ({error}): {way_out(layout)}") from error
    dropped = dropped_names(layout, recipe)
    layers, unreadable = read_layers(layout, recipe, dropped)
    if even_if_damaged:
        planned_files = planned_with_layers(layout, recipe, layers, dropped, even_if_damaged=True)
        return Store(path, recipe, splits, planned_files, layers, dropped, unreadable)
    if unreadable:
        name, problem = next(iter(unreadable.items()))
        raise NotAStore(
            f"{path}: layers/{name}.json cannot be read ({problem}): {layer_way_out(layout.of_layer(name))}"
        )
    for name in lost_names(layout):
        raise NotAStore(
            f"{path}: layers/{name}.json is missing, and commits/{name} holds shards of it: {layer_way_out(layout.of_layer(name))}"
        )
    if not layout.plan_commit.exists():
        raise NotAStore(_incomplete(path, ["commits/plan.json"]))
    planned_files = planned_with_layers(layout, recipe, layers, dropped)
    if mirror is not None:
        planned_files.bring = mirror.bring
    store = Store(path, recipe, splits, planned_files, layers, dropped, url=None if mirror is None else mirror.url)
    missing = [] if mirror is not None else _missing(store, layout)  # a mirror fetches what it has not
    if missing:
        raise NotAStore(_incomplete(path, missing))
    try:
        for name in store.planned_files.objects or {}:
            if name.endswith(".json"):
                store.planned_files.check(name)
    except ShardDamaged as error:
        raise NotAStore(str(error)) from error
    return store


def _missing(store: Store, layout: Layout) -> list[str]:
    """Files that the store should have and has not."""
    missing = missing_files(layout, store.reader.shards.specs, store.planned_files.objects or {}, store.committed)
    for shards_of_layer in store.reader.added.values():
        missing += missing_array_files(layout, shards_of_layer.specs, shards_of_layer.numbers)
    return missing


def _incomplete(path: Path, missing: Sequence[str]) -> str:
    return (
        f"{path} is incomplete (copied half-way?): {counted(len(missing), 'file')} missing, the first is {missing[0]}. Copy "
        f"it again, or run `{command('verify', path, '--repair')}` to make the lost shards again"
    )
