"""The encoders that were added to a store: their records, and the checksums of their planned files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from keybed.store.disk.layer_files import UNREADABLE, layer_names, planned_layer_files, read_layer
from keybed.store.disk.planned_files import PlannedFiles
from keybed.store.errors import NotAStore
from keybed.store.format.layer import Layer, without
from keybed.store.format.layout import Layout
from keybed.store.format.recipe import Recipe
from keybed.store.format.recipe_rules import recipe_problems


def read_layers(layout: Layout, recipe: Recipe, dropped: frozenset[str]) -> tuple[dict[str, Layer], dict[str, str]]:
    """(the added layers by name, those that cannot be read and why). A layer that is dropped meanwhile is in neither."""
    layers: dict[str, Layer] = {}
    unreadable: dict[str, str] = {}
    planned = without(recipe, dropped)
    names = layer_names(layout)
    rows = recipe.rows_fingerprint if names else ""
    for name in names:
        of_layer = layout.of_layer(name)
        try:
            layer = read_layer(of_layer, rows)
            together = (*planned, *(other.encoder for other in layers.values()), layer.encoder)
            problems = list(recipe_problems(replace(recipe, encoders=together).to_json()))
            if problems:
                raise ValueError("; ".join(problems[:4]))
        except UNREADABLE as error:
            if of_layer.layer_record.exists():
                unreadable[name] = str(error)
            continue
        layers[name] = layer
    return layers, unreadable


def planned_with_layers(
    layout: Layout,
    recipe: Recipe,
    layers: dict[str, Layer],
    dropped: frozenset[str],
    *,
    even_if_damaged: bool = False,
) -> PlannedFiles:
    """The checksums of all planned files, those of dropped encoders left out. Raises NotAStore unless even_if_damaged.

    A layer that is dropped meanwhile is taken out of `layers`.
    """
    try:
        planned = PlannedFiles.read(layout, recipe.fingerprint).objects or {}
    except NotAStore:
        if even_if_damaged:
            return PlannedFiles(layout, None)
        raise
    objects = without_dropped(planned, recipe, dropped)
    for name, layer in list(layers.items()):
        of_layer = layout.of_layer(name)
        try:
            objects |= planned_layer_files(of_layer, layer)
        except NotAStore:
            if not of_layer.layer_record.exists():
                del layers[name]
            elif not even_if_damaged:
                raise
    return PlannedFiles(layout, objects)


def without_dropped(
    objects: Mapping[str, tuple[int, str]], recipe: Recipe, dropped: Iterable[str]
) -> dict[str, tuple[int, str]]:
    """The checksums of commits/plan.json without those of the dropped encoders' metadata."""
    groups = tuple(f"features.zarr/{encoder.group}/" for encoder in recipe.encoders if encoder.name in set(dropped))
    return {name: entry for name, entry in objects.items() if not (groups and name.startswith(groups))}
