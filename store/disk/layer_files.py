"""Records of encoders that were added to a store or dropped from it, in its folder `layers/`.

`layers/muq.json` is the record of an added layer, which exists while this file does; `commits/muq/plan.json` has the
checksums of the record and of the layer's metadata, and a copy of the record. `layers/mert.dropped` says that an encoder of
recipe.json was dropped; `layers/muq.dropping` is a record whose layer is being removed.
"""

from __future__ import annotations

from collections.abc import Mapping

from keybed.store.command import command
from keybed.store.disk.json_files import read_json_object, sealed, unsealed
from keybed.store.disk.planned_files import plan_bytes, read_plan
from keybed.store.disk.planned_metadata import layer_metadata_files
from keybed.store.errors import NotAStore
from keybed.store.format.layer import Layer, name_problems
from keybed.store.format.layout import DROPPED, DROPPING, LAYER_RECORD, Layout
from keybed.store.format.recipe import Recipe

UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError)
"""What a damaged record or list of checksums raises."""


def layer_names(layout: Layout) -> list[str]:
    """Names of the layers that have a record, readable or not."""
    return [name for name in _names(layout, LAYER_RECORD) if not name_problems(name)]


def dropped_names(layout: Layout, recipe: Recipe) -> frozenset[str]:
    """Encoders of the recipe that were dropped."""
    return frozenset(_names(layout, DROPPED)) & {encoder.name for encoder in recipe.encoders}


def dropping_names(layout: Layout) -> list[str]:
    """Added layers whose removal has begun and not ended."""
    return [name for name in _names(layout, DROPPING) if not name_problems(name)]


def lost_names(layout: Layout) -> list[str]:
    """Added layers whose shards are committed although their record is gone and nothing says that they were dropped."""
    holding = {file.parent.name for file in layout.commits.glob("*/[0-9]*.json")}
    known = {*layer_names(layout), *marked_names(layout)}
    # Looked at again: an encoder that is dropped at this moment loses its commits before its marker.
    return sorted(name for name in holding - known if any(layout.of_layer(name).commits.glob("[0-9]*.json")))


def marked_names(layout: Layout) -> set[str]:
    """Encoders that were dropped, wholly or not."""
    return {*dropping_names(layout), *_names(layout, DROPPED)}


def _names(layout: Layout, suffix: str) -> list[str]:
    if not layout.layers.is_dir():
        return []
    return sorted(entry.name.removesuffix(suffix) for entry in layout.layers.iterdir() if entry.name.endswith(suffix))


def read_layer(layout: Layout, rows: str) -> Layer:
    """The layer of `layout`, from its record. rows: the store's `Recipe.rows_fingerprint`. Raises one of UNREADABLE."""
    return _checked(layout, rows, Layer.from_json(unsealed(read_json_object(layout.layer_record))))


def layer_of_plan(layout: Layout, rows: str) -> Layer:
    """The layer of `layout`, from the copy in `commits/LAYER/plan.json`. Raises one of UNREADABLE."""
    plain = unsealed(read_json_object(layout.plan_commit))
    layer = _checked(layout, rows, Layer.from_json(plain["layer"]))
    read_plan(layout, layer.fingerprint)
    return layer


def _checked(layout: Layout, rows: str, layer: Layer) -> Layer:
    if layer.name != layout.layer:
        raise ValueError(f"it is the record of {layer.name}")
    if layer.rows != rows:
        raise ValueError(f"it belongs to other rows ({layer.rows[:12]}…, the store has {rows[:12]}…)")
    return layer


def layer_files(layer: Layer, recipe: Recipe) -> dict[str, bytes]:
    """Path within the store → content, of the layer's metadata and, last, of its record.

    recipe: as the store was planned. A group that its encoders have as well is not among the layer's files.
    """
    files = layer_metadata_files(layer.specs(recipe.n_rows, recipe.shard_rows))
    for modality in {encoder.modality for encoder in recipe.encoders}:
        files.pop(f"features.zarr/{modality}/zarr.json", None)
    return {**files, f"layers/{layer.name}{LAYER_RECORD}": record_bytes(layer)}


def record_bytes(layer: Layer) -> bytes:
    """The content of `layers/NAME.json`."""
    return sealed(layer.to_json())


def layer_plan_bytes(layer: Layer, objects: Mapping[str, bytes | tuple[int, str]]) -> bytes:
    """The content of `commits/NAME/plan.json`. objects: as `layer_files` gives them."""
    return plan_bytes(layer.fingerprint, objects, layer.to_json())


def planned_layer_files(layout: Layout, layer: Layer) -> dict[str, tuple[int, str]]:
    """Path within the store → (bytes, sha256), from `commits/LAYER/plan.json`. Raises NotAStore."""
    try:
        return read_plan(layout, layer.fingerprint)
    except UNREADABLE as error:
        raise NotAStore(f"{layout.plan_commit} cannot be read ({error}): {layer_way_out(layout)}") from error


def still_there(layout: Layout, layer: Layer) -> bool:
    """Whether this very layer is still part of the store, which it is not once it was dropped."""
    try:
        return layout.layer_record.read_bytes() == record_bytes(layer)
    except OSError:
        return False


def listing(layout: Layout) -> tuple[str, ...]:
    """Names of all files in `layers/`."""
    return tuple(sorted(entry.name for entry in layout.layers.iterdir())) if layout.layers.is_dir() else ()


def layer_way_out(layout: Layout) -> str:
    """What to do about a damaged file of an added layer."""
    repair, drop = (
        command("verify", layout.root, "--repair"),
        command("drop", layout.root, "--encoder", str(layout.layer)),
    )
    return f"`{repair}` restores it where it follows from the rest; otherwise copy it from a good copy of the store, or `{drop}`"
