"""Compare the plan-written part of a store with the checksums that `create` recorded in `commits/plan.json`."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from keybed.store.command import command
from keybed.store.disk.json_files import read_json_object
from keybed.store.disk.layer_files import UNREADABLE, lost_names
from keybed.store.disk.planned_files import PlannedFiles, read_plan
from keybed.store.format.array_specs import ArraySpec
from keybed.store.format.layout import Layout
from keybed.store.read.layers import without_dropped
from keybed.store.read.store import Store


def plan_problems(store: Store, restorable: Collection[str] = ()) -> Iterator[str]:
    """All that is wrong with recipe, recordings, notes, array metadata and plan-written columns, one sentence each.

    restorable: paths of damaged files that --repair can restore.
    """
    yield from (f"{name} is damaged or missing; --repair restores it" for name in sorted(restorable))
    layout = Layout(store.path)
    try:
        objects = read_plan(layout, store.fingerprint)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        if "commits/plan.json" in restorable:
            return
        yield f"{layout.plan_commit} cannot be read ({error}), so nothing can be checked against it"
        return
    objects = without_dropped(objects, store.planned_recipe, store.dropped)
    for name, problem in store.unreadable_layers.items():
        if f"layers/{name}.json" not in restorable:
            yield f"layers/{name}.json cannot be read ({problem}): `{command('drop', store.path, '--encoder', name)}`"
    for name, layer in store.layers.items():
        of_layer = layout.of_layer(name)
        try:
            objects |= read_plan(of_layer, layer.fingerprint)
        except UNREADABLE as error:
            if f"commits/{name}/plan.json" not in restorable:
                yield f"{of_layer.plan_commit} cannot be read ({error}), so nothing can be checked against it"
    for name in lost_names(layout):
        if f"layers/{name}.json" in restorable:
            continue
        yield (
            f"layers/{name}.json and commits/{name}/plan.json are missing or damaged, so that the features of {name} cannot "
            f"be read: copy one of them from a good copy, or `{command('drop', store.path, '--encoder', name)}`"
        )
    planned = PlannedFiles(layout, objects)
    for name in sorted(set(objects) - set(restorable)):
        if not (layout.root / name).is_file():
            yield f"{name} is missing"
        elif planned.differs(name):
            yield f"{name} is not what was planned (sha256 differs)"
    for spec in store.specs:
        metadata = layout.array(spec.path) / "zarr.json"
        if metadata.is_file() and f"features.zarr/{spec.path}/zarr.json" not in restorable:
            yield from _metadata_problems(metadata, spec)


def _metadata_problems(file: Path, spec: ArraySpec) -> Iterator[str]:
    try:
        metadata = read_json_object(file)
        shape, dtype, dims = tuple(metadata["shape"]), metadata["data_type"], tuple(metadata["dimension_names"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        yield f"{spec.path}/zarr.json cannot be read ({error})"
        return
    if (shape, dtype, dims) != (spec.shape, spec.dtype, spec.dims):
        yield f"{spec.path} is {dtype} {shape} {dims}, the recipe says {spec.dtype} {spec.shape} {spec.dims}"
