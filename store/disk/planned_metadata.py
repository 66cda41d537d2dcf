"""Files of a store that follow from its recipe and its splits: recipe.json and all Zarr metadata, as `create` writes them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from keybed.store.disk.durable import canonical
from keybed.store.disk.zarr_arrays import make_array
from keybed.store.format.array_specs import ArraySpec, array_specs
from keybed.store.format.recipe import FORMAT_VERSION, Recipe
from keybed.store.format.vocabulary import SPLITS, TIERS, Status


def recipe_bytes(recipe: Recipe) -> bytes:
    """The content of `recipe.json`."""
    return canonical({"fingerprint": recipe.fingerprint, "recipe": recipe.to_json()})


def make_metadata(
    folder: Any, recipe: Recipe, specs: Sequence[ArraySpec], splits: Mapping[str, tuple[int, int]]
) -> dict[str, Any]:
    """Create the groups and empty arrays of a store in a Zarr store (folder or memory). Returns the arrays, writable."""
    import zarr

    attributes = {
        "format_version": FORMAT_VERSION,
        "fingerprint": recipe.fingerprint,
        "recipe": recipe.to_json(),
        "splits": {name: list(splits[name]) for name in splits},
        "legend": {
            "split": dict(zip(SPLITS, range(len(SPLITS)), strict=True)),
            "tier": dict(zip(TIERS, range(len(TIERS)), strict=True)),
            "status": {status.name: int(status) for status in Status},
        },
    }
    zarr.create_group(folder, attributes={"keybed": json.loads(canonical(attributes))})
    for group in sorted({parent for spec in specs for parent in _parents(spec.path)}):
        zarr.create_group(folder, path=group)
    return {spec.path: make_array(folder, spec) for spec in specs}


def layer_metadata_files(specs: Sequence[ArraySpec]) -> dict[str, bytes]:
    """Path within the store → content, of every `zarr.json` of an added layer, equal to those that `create` writes."""
    import zarr
    from zarr.storage import MemoryStore

    objects: dict[str, Any] = {}
    folder = MemoryStore(objects)
    for group in sorted({parent for spec in specs for parent in _parents(spec.path)}):
        zarr.create_group(folder, path=group)
    for spec in specs:
        make_array(folder, spec)
    return {f"features.zarr/{name}": data.to_bytes() for name, data in objects.items() if name != "zarr.json"}


def metadata_files(recipe: Recipe, splits: Mapping[str, tuple[int, int]]) -> dict[str, bytes]:
    """Path within the store → content, of recipe.json and of every `zarr.json` that `create` writes."""
    from zarr.storage import MemoryStore

    objects: dict[str, Any] = {}
    make_metadata(MemoryStore(objects), recipe, array_specs(recipe), splits)
    files = {f"features.zarr/{name}": data.to_bytes() for name, data in objects.items()}
    return {"recipe.json": recipe_bytes(recipe), **files}


def group_metadata() -> bytes:
    """The `zarr.json` of a group without attributes."""
    import zarr
    from zarr.storage import MemoryStore

    objects: dict[str, Any] = {}
    zarr.create_group(MemoryStore(objects))
    (data,) = objects.values()
    content: bytes = data.to_bytes()
    return content


def _parents(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[: i + 1]) for i in range(len(parts))]
