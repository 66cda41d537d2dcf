"""Add encoders to a planned store, and drop encoders from it. No byte of the rows or of other encoders changes.

The record of an added encoder, `layers/NAME.json`, is written last and taken away first: a crash leaves the whole layer or
none. Files without a record are leftovers, which the same command or `keybed verify --repair` removes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from keybed.store.command import command
from keybed.store.disk.commits import committed
from keybed.store.disk.durable import canonical, disk_error, server_now, sha256_of, sync_folder, write_durably
from keybed.store.disk.layer_files import UNREADABLE, dropping_names, layer_files, layer_of_plan, layer_plan_bytes
from keybed.store.disk.links import refuse_outside
from keybed.store.disk.removal import remove
from keybed.store.errors import (
    ClaimLost,
    NoSuchFeature,
    NotAStore,
    PlanRefused,
    RecipeMismatch,
    ShardBusy,
    ShardDamaged,
)
from keybed.store.format.layer import Layer, name_problems
from keybed.store.format.layout import DROPPED, DROPPING, Layout
from keybed.store.format.recipe import EncoderSpec, differences
from keybed.store.format.recipe_rules import recipe_problems
from keybed.store.format.shards import as_ranges
from keybed.store.read.opening import open_store
from keybed.store.read.store import Store
from keybed.store.write.claim_files import live_claims
from keybed.store.write.claims import Claim, claim_layers
from keybed.store.write.create import update_machine_paths


@dataclass(frozen=True)
class Dropped:
    """What `drop_encoder` removed."""

    name: str
    n_files: int
    n_bytes: int


def add_encoders(path: str | Path, encoders: Sequence[EncoderSpec], machine_paths: Mapping[str, str]) -> list[str]:
    """Add the records and empty arrays of these encoders; return the names of those that the store did not have.

    machine_paths: where their weights lie. Raises RecipeMismatch where the store has an encoder of the same name and other
    settings, PlanRefused, ShardBusy, NoDiskSpace, ReadOnlyStore.
    """
    layout = Layout(Path(path).absolute())
    open_store(layout.root)  # before anything is written
    with claim_layers(layout) as claim:
        store = open_store(layout.root)
        new = [spec for spec in encoders if not _has(store, spec)]
        together = replace(store.recipe, encoders=(*store.recipe.encoders, *new))
        problems = [text for spec in new for text in name_problems(spec.name)]
        problems += recipe_problems(together.to_json())
        if problems:
            raise PlanRefused(f"{store.path} cannot be extended: {'; '.join(problems)}")
        for spec in new:
            _add(store, Layer(spec, store.planned_recipe.rows_fingerprint), claim)
        update_machine_paths(open_store(store.path), {**store.machine_paths, **machine_paths})
    return [spec.name for spec in new]


def _has(store: Store, spec: EncoderSpec) -> bool:
    """Whether the store has this encoder. Raises RecipeMismatch where it has another one of this name."""
    present = next((other for other in store.recipe.encoders if other.name == spec.name), None)
    if present is None:
        return False
    listed = "\n  ".join(differences(asdict(present), asdict(spec)))
    if listed:
        raise RecipeMismatch(
            f"{store.path} has an encoder {spec.name} with other settings; nothing was changed. Stored | requested:\n  {listed}\n"
            f"Use another store, or first `{command('drop', store.path, '--encoder', spec.name)}`."
        )
    return True


def _add(store: Store, layer: Layer, claim: Claim) -> None:
    layout = Layout(store.path, layer.name)
    if not _continues(layout, layer):
        remove_layer_files(store, layer.name, claim)
    files = layer_files(layer, store.planned_recipe)
    record = files.popitem()
    try:
        layout.commits.mkdir(parents=True, exist_ok=True)  # by this folder a killed `extend` is found
        for name, data in files.items():
            _write(layout, name, data, claim)
        objects = {name: _on_disk(layout.root / name) for name in files}
        _write(
            layout, f"commits/{layer.name}/plan.json", layer_plan_bytes(layer, {**objects, record[0]: record[1]}), claim
        )
        _write(layout, *record, claim)
    except ClaimLost:
        raise  # what lies there now may be another process's
    except BaseException:
        if not layout.layer_record.exists() and not committed(layout):
            remove_layer_files(store, layer.name, claim)
        raise


def _continues(layout: Layout, layer: Layer) -> bool:
    """Whether shards of this very layer are committed, whose record was lost. RecipeMismatch for those of another one."""
    if layout.layer in dropping_names(layout) or not committed(layout):
        return False
    try:
        same = layer_of_plan(layout, layer.rows) == layer
    except UNREADABLE:
        same = False
    if not same:
        raise RecipeMismatch(
            f"{layout.commits} holds shards of another encoder {layer.name}, whose record {layout.layer_record} is missing: "
            f"`{command('verify', layout.root, '--repair')}` restores it, "
            f"`{command('drop', layout.root, '--encoder', layer.name)}` removes them"
        )
    return True


def _on_disk(file: Path) -> tuple[int, str]:
    return file.stat().st_size, sha256_of(file)


def _write(layout: Layout, name: str, data: bytes, claim: Claim) -> None:
    """Write one planned file and the folders above it durably; a group that another encoder has stays as it is."""
    file = layout.root / name
    refuse_outside(layout.root, file)
    shared_group = name.count("/") == 2 and name.startswith("features.zarr/")
    if file.exists() and (shared_group or file.read_bytes() == data):
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(error, file) from error
    write_durably(file, data, before_publishing=claim.check)
    for folder in file.parent.parents:
        sync_folder(folder)
        if folder == layout.root:
            return


def drop_encoder(path: str | Path, name: str) -> Dropped:
    """Remove one encoder's features, views, commits and logs; of an encoder of the plan the commits stay as they are.

    A drop that was stopped goes on. Raises NoSuchFeature, PlanRefused for the only encoder, ShardBusy where a task is making
    shards of it, ReadOnlyStore.
    """
    layout = Layout(Path(path).absolute())
    of_layer = layout.of_layer(name)
    _opened(layout)
    with claim_layers(layout) as claim:
        store = _opened(layout)
        left = [spec for spec in store.recipe.encoders if spec.name != name]
        added = name in store.layers or name in store.unreadable_layers
        planned = not added and name in {spec.name for spec in store.planned_recipe.encoders} - store.dropped
        if added or planned:
            if not left:
                raise PlanRefused(
                    f"{name} is the only encoder of {store.path}; add another one first, or delete the store"
                )
            marker = layout.layers / f"{name}{DROPPED}" if planned else layout.layers / f"{name}{DROPPING}"
            claim.check()
            _mark(layout if planned else of_layer, marker, planned=planned)
        elif name_problems(name) or not files_of_gone(store, name):
            names = [*(spec.name for spec in store.recipe.encoders), *store.unreadable_layers]
            raise NoSuchFeature(f"{store.path} has no encoder {name!r}; it has {', '.join(names)}")
        removed = remove_layer_files(_opened(layout), name, claim)
        _forget_weights(store, name)
    return Dropped(name, *removed)


def _opened(layout: Layout) -> Store:
    """The store, also where a damaged layer keeps it from opening."""
    try:
        return open_store(layout.root)
    except NotAStore:
        return open_store(layout.root, even_if_damaged=True)


def _forget_weights(store: Store, name: str) -> None:
    with suppress(ShardDamaged):  # `keybed verify` says so
        paths = store.machine_paths
        if paths.pop(f"weights/{name}", None) is not None:
            write_durably(Layout(store.path).machine_paths, canonical(paths))


def _mark(layout: Layout, marker: Path, *, planned: bool) -> None:
    """Take the encoder out of the store, unless a task is making shards of it. Raises ShardBusy."""
    _refuse_live(layout)
    refuse_outside(layout.root, marker)
    try:
        layout.layers.mkdir(exist_ok=True)
        if planned:
            write_durably(marker, b"")
            sync_folder(layout.root)
        else:
            layout.layer_record.rename(marker)
            sync_folder(layout.layers)
    except OSError as error:
        raise disk_error(error, marker) from error
    try:
        _refuse_live(layout)  # a task that claimed a shard since; one that claims later sees the marker
    except ShardBusy:
        if planned:
            marker.unlink()
        else:
            marker.rename(layout.layer_record)
        sync_folder(layout.layers)
        _remove_empty_folder(layout.layers)
        raise


def _refuse_live(layout: Layout) -> None:
    live = live_claims(layout, server_now(layout.claims)) if layout.claims.is_dir() else []
    if live:
        holders = ", ".join(sorted({str(state.holder or "a task that is just starting") for state in live}))
        raise ShardBusy(
            f"shards {as_ranges(state.shard for state in live)} are being made by {holders}: stop these tasks or wait for them"
        )


def files_of_gone(store: Store, name: str) -> list[Path]:
    """All that is left of an encoder that the store does not have (any more), in the order in which to remove it."""
    layout = Layout(store.path, name)
    kept = store.recipe.encoders
    groups = {f"{modality}/{name}" for modality in ("audio", "midi")} - {spec.group for spec in kept}
    folders = [layout.array(group) for group in sorted(groups)]
    if name not in {spec.name for spec in kept}:
        folders.append(layout.array(f"derived/{name}"))
    metadata = [file for folder in folders for file in sorted(folder.rglob("zarr.json"))]
    if name not in store.layers and not name_problems(name):
        folders += [layout.commits, layout.logs, layout.claims]
        folders.append(layout.layers / f"{name}{DROPPING}")
    return [path for path in (*metadata, *folders) if path.exists()]


def remove_layer_files(store: Store, name: str, claim: Claim) -> tuple[int, int]:
    """Remove all that is left of an encoder that the store does not have (any more). Returns (files, bytes) removed.

    claim: of `claim_layers`. Raises ClaimLost, before the next file is removed, where it was taken over.
    """
    layout = Layout(store.path)
    paths = files_of_gone(store, name)
    files = {file for path in paths for file in (path.rglob("*") if path.is_dir() else (path,)) if file.is_file()}
    sizes = [file.stat().st_size for file in files]
    for path in paths:
        claim.check()
        remove(layout.root, [path])
    modalities = {spec.modality for spec in (*store.recipe.encoders, *store.planned_recipe.encoders)}
    _remove_empty_groups(layout, (*({"audio", "midi"} - modalities), "derived"))
    _remove_empty_folder(layout.layers)
    return len(sizes), sum(sizes)


def _remove_empty_folder(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _remove_empty_groups(layout: Layout, groups: Iterable[str]) -> None:
    for group in groups:
        folder = layout.array(group)
        if folder.is_dir() and {entry.name for entry in folder.iterdir()} <= {"zarr.json"}:
            remove(layout.root, [folder])
