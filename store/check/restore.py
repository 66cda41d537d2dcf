"""Small files that follow from the rest of a store: which of them are damaged or missing, and their right content.

recipe.json and the attributes of features.zarr each hold the whole recipe; all other metadata follow from it. The list of
checksums, commits/plan.json, is restored only where the commits confirm every file that it lists.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from keybed.store.disk.commits import committed, read_commit
from keybed.store.disk.derived_files import derived_groups
from keybed.store.disk.durable import canonical, disk_error, sha256_of, write_durably
from keybed.store.disk.json_files import read_json_object
from keybed.store.disk.layer_files import (
    UNREADABLE,
    dropped_names,
    dropping_names,
    layer_files,
    layer_names,
    layer_of_plan,
    layer_plan_bytes,
    read_layer,
)
from keybed.store.disk.links import refuse_outside
from keybed.store.disk.machine_paths import read_machine_paths
from keybed.store.disk.planned_files import PlannedFiles, plan_bytes, planned_columns, read_plan
from keybed.store.disk.planned_metadata import group_metadata, metadata_files
from keybed.store.disk.zarr_arrays import column_from_bytes
from keybed.store.errors import ShardDamaged
from keybed.store.format import shards
from keybed.store.format.array_specs import array_specs
from keybed.store.format.layout import Layout
from keybed.store.format.recipe import Recipe
from keybed.store.format.splits import checked_splits
from keybed.store.format.vocabulary import SPLITS

_BAD = (OSError, ValueError, KeyError, TypeError, AttributeError)


def restorable(layout: Layout) -> dict[str, bytes]:
    """Path within the store → right content, of every damaged or missing file that can be restored. Nothing is written."""
    recipe = _recipe(layout)
    if recipe is None:
        return {}
    plan = _plan(layout, recipe)
    wrong: dict[str, bytes] = {}
    gone = _dropped_groups(layout, recipe)
    for splits in _splits(layout, recipe):
        expected = metadata_files(recipe, splits)
        if plan is None or all(_is(plan.get(name), data) for name, data in expected.items()):
            wrong = {
                name: data
                for name, data in expected.items()
                if not name.startswith(gone) and _content(layout, name) != data
            }
            if plan is None:
                plan_file = _confirmed_plan(layout, recipe, expected)
                wrong = {**wrong, "commits/plan.json": plan_file} if plan_file is not None else {}
            break
    else:  # planned by another version, whose metadata read otherwise: recipe.json alone has one form
        data = metadata_files(recipe, dict.fromkeys(SPLITS, (0, 0)))["recipe.json"]
        if plan is not None and _is(plan.get("recipe.json"), data) and _content(layout, "recipe.json") != data:
            wrong = {"recipe.json": data}
    for name in _layer_names(layout):
        wrong |= _of_layer(layout.of_layer(name), recipe)
    try:
        read_machine_paths(layout.machine_paths)
    except (OSError, ValueError):
        wrong["places.json"] = canonical({})
    group = group_metadata()
    for path in derived_groups(layout):
        name = f"features.zarr/{path}/zarr.json"
        if not _is_empty_group(layout.root / name):
            wrong[name] = group
    return wrong


def restore(layout: Layout, files: Mapping[str, bytes]) -> None:
    """Write these files. Raises ReadOnlyStore, NoDiskSpace."""
    for name, data in files.items():
        file = layout.root / name
        refuse_outside(layout.root, file)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise disk_error(error, file) from error
        write_durably(file, data)


def _dropped_groups(layout: Layout, recipe: Recipe) -> tuple[str, ...]:
    """Beginnings of the paths of planned encoders that were dropped; one that fits no path where none was."""
    dropped = dropped_names(layout, recipe)
    return ("//", *(f"features.zarr/{encoder.group}/" for encoder in recipe.encoders if encoder.name in dropped))


def _layer_names(layout: Layout) -> list[str]:
    """Added layers of which a record exists, or a list of checksums beside commits; those being dropped are left out.

    A list alone is what `extend` leaves behind that was killed before it wrote the record.
    """
    recorded = {file.parent.name for file in layout.commits.glob("*/plan.json")}
    recorded = {name for name in recorded if committed(layout.of_layer(name))}
    return sorted({*layer_names(layout), *recorded} - set(dropping_names(layout)))


def _of_layer(layout: Layout, recipe: Recipe) -> dict[str, bytes]:
    """Path → right content of the damaged small files of one layer, whose record and list of checksums hold each other."""
    rows = recipe.rows_fingerprint
    try:
        layer = read_layer(layout, rows)
    except UNREADABLE:
        try:
            layer = layer_of_plan(layout, rows)
        except UNREADABLE:
            return {}
    expected = layer_files(layer, recipe)
    record = f"layers/{layer.name}.json"
    try:
        plan = read_plan(layout, layer.fingerprint)
    except UNREADABLE:
        expected = {**expected, f"commits/{layer.name}/plan.json": layer_plan_bytes(layer, expected)}
    else:
        if not all(_is(plan.get(name), data) for name, data in expected.items()):  # metadata of another version
            expected = {record: expected[record]}
    return {name: data for name, data in expected.items() if _content(layout, name) != data}


def _recipe(layout: Layout) -> Recipe | None:
    """The recipe that agrees with its own fingerprint and, where both can be read, with commits/plan.json."""
    recipes = []
    for find in (_from_file, _from_group):
        try:
            data, digest = find(layout)
            recipe = Recipe.from_json(data)
            if recipe.fingerprint == digest:
                recipes.append(recipe)
        except _BAD:
            continue
    planned = [recipe for recipe in recipes if _plan(layout, recipe) is not None]
    if planned or len({recipe.fingerprint for recipe in recipes}) == 1:
        return (planned or recipes)[0]
    return None


def _from_file(layout: Layout) -> tuple[Any, Any]:
    plain = read_json_object(layout.recipe)
    return plain["recipe"], plain["fingerprint"]


def _from_group(layout: Layout) -> tuple[Any, Any]:
    plain = _group(layout)
    return plain["recipe"], plain["fingerprint"]


def _group(layout: Layout) -> dict[str, Any]:
    attributes: dict[str, Any] = read_json_object(layout.features / "zarr.json")["attributes"]["keybed"]
    return attributes


def _plan(layout: Layout, recipe: Recipe) -> dict[str, tuple[int, str]] | None:
    try:
        return read_plan(layout, recipe.fingerprint)
    except _BAD:
        return None


def _splits(layout: Layout, recipe: Recipe) -> Iterator[dict[str, tuple[int, int]]]:
    """Possible split ranges: of the group's attributes, then of the column `row/split`."""
    with suppress(*_BAD):
        yield checked_splits(_group(layout)["splits"], recipe.n_rows)
    (spec,) = (spec for spec in array_specs(recipe) if spec.path == "row/split")
    try:
        column = column_from_bytes(spec, (layout.array(spec.path) / "c.0").read_bytes())
        if np.any(np.diff(column.astype(int)) < 0):
            return
        edges = np.searchsorted(column, range(len(SPLITS) + 1)).tolist()
        yield checked_splits({name: list(edges[i : i + 2]) for i, name in enumerate(SPLITS)}, recipe.n_rows)
    except (*_BAD, RuntimeError):
        return


def _confirmed_plan(layout: Layout, recipe: Recipe, metadata: Mapping[str, bytes]) -> bytes | None:
    """commits/plan.json of the files on disk; None unless the commits confirm every one that does not follow from the recipe."""
    specs = array_specs(recipe)
    columns = planned_columns(specs)
    try:
        notes = {f"notes/{file.name}" for file in layout.notes.iterdir()} if layout.notes.is_dir() else set()
        others = {name: layout.root / name for name in ("recordings.json", *columns, *sorted(notes))}
        checksums = {name: (file.stat().st_size, sha256_of(file)) for name, file in others.items()}
        (spec,) = (spec for spec in specs if spec.path == "row/recording")
        recording = column_from_bytes(spec, (layout.array(spec.path) / "c.0").read_bytes())
        candidate = PlannedFiles(layout, checksums)
        used: set[int] = set()
        for shard in committed(layout):
            rows = slice(*shards.shard_range(shard, recipe.shard_rows, recipe.n_rows))
            numbers = set(recording[rows].tolist())
            if read_commit(layout, shard, recipe.fingerprint).inputs != candidate.inputs(specs, numbers):
                return None
            used |= numbers
    except (*_BAD, RuntimeError, IndexError, ShardDamaged):
        return None
    confirmed = {f"notes/{name}" for name in _names(layout, used)}
    if not used or not notes <= confirmed:
        return None
    return plan_bytes(recipe.fingerprint, {**checksums, **metadata})


def _is_empty_group(file: Path) -> bool:
    try:
        metadata = read_json_object(file)
    except (OSError, ValueError):
        return False
    if metadata.get("consolidated_metadata", 0) is None:  # some versions of zarr-python write it
        del metadata["consolidated_metadata"]
    return metadata == {"zarr_format": 3, "node_type": "group", "attributes": {}}


def _names(layout: Layout, recordings: Iterable[int]) -> set[str]:
    return {layout.notes_of(number).name for number in recordings}


def _is(planned: tuple[int, str] | None, data: bytes) -> bool:
    return planned == (len(data), hashlib.sha256(data).hexdigest())


def _content(layout: Layout, name: str) -> bytes | None:
    try:
        return (layout.root / name).read_bytes()
    except OSError:
        return None
