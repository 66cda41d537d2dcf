"""Read a store's recipe from `recipe.json`, and compare it with the copy in the attributes of its Zarr group."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from keybed.store.command import command
from keybed.store.disk.json_files import read_json_object
from keybed.store.disk.planned_files import way_out
from keybed.store.errors import NewerFormat, NotAStore
from keybed.store.format.layout import Layout
from keybed.store.format.recipe import FORMAT_VERSION, Recipe


def read_recipe(layout: Layout) -> tuple[Recipe, dict[str, Any]]:
    """The recipe, and the attributes of the group. Raises NotAStore, NewerFormat."""
    path = layout.root
    try:
        plain = read_json_object(layout.recipe)
        group = read_json_object(layout.features / "zarr.json")["attributes"]["keybed"]
        version = max(int(group["format_version"]), int(plain["recipe"]["format_version"]))
    except (FileNotFoundError, NotADirectoryError) as error:
        partly = layout.features.exists() or layout.recipe.exists()
        what = "only part of a store (copied half-way?)" if partly else "no store"
        repair = f" or `{command('verify', path, '--repair')}` restores it" if partly else ""
        raise NotAStore(
            f"{path} is {what}: {Path(str(error.filename)).relative_to(path)} is missing; `keybed plan` makes a store{repair}"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise NotAStore(
            f"{path}: recipe.json or features.zarr/zarr.json cannot be read ({error}): {way_out(layout)}"
        ) from error
    if version > FORMAT_VERSION:
        raise NewerFormat(f"{path} has format {version}, this Keybed reads up to {FORMAT_VERSION}: update Keybed")
    try:
        recipe = Recipe.from_json(plain["recipe"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NotAStore(
            f"{path}/recipe.json is not a recipe of format {FORMAT_VERSION} ({error}): {way_out(layout)}"
        ) from error
    ours, file, features = recipe.fingerprint, str(plain.get("fingerprint")), str(group.get("fingerprint"))
    if not ours == file == features:
        raise NotAStore(
            f"{path}: recipe.json and features.zarr belong to different stores, or one was edited "
            f"(fingerprints {ours[:12]}, {file[:12]}, {features[:12]}): {way_out(layout)}"
        )
    return recipe, group
