"""Is the plan-written part still what `create` sealed?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from keybed.store.disk.durable import sha256_of
from keybed.store.format.array_specs import ArraySpec
from keybed.store.format.layout import Layout
from keybed.store.read.store import Store


def plan_problems(store: Store) -> Iterator[str]:
    """Everything that is wrong with recipe, recordings, notes, array metadata and plan-written columns."""
    layout = Layout(store.path)
    try:
        objects = json.loads(layout.plan_commit.read_bytes())["objects"]
        sealed = {name: (entry["bytes"], entry["sha256"]) for name, entry in objects.items()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        yield f"{layout.plan_commit} cannot be read ({error}), so nothing can be checked against it"
        return
    for name, (length, digest) in sorted(sealed.items()):
        file = layout.root / name
        if not file.is_file():
            yield f"{name} is missing"
        elif file.stat().st_size != length or sha256_of(file) != digest:
            yield f"{name} is not what was planned (sha256 differs)"
    for spec in store.specs:
        metadata = layout.array(spec.path) / "zarr.json"
        if metadata.is_file():
            yield from _other_shape(metadata, spec)


def _other_shape(metadata: Path, spec: ArraySpec) -> Iterator[str]:
    try:
        found = json.loads(metadata.read_bytes())
        shape, dtype, dims = tuple(found["shape"]), found["data_type"], tuple(found["dimension_names"])
    except (ValueError, KeyError, TypeError) as error:
        yield f"{spec.path}/zarr.json cannot be read ({error})"
        return
    if (shape, dtype, dims) != (spec.shape, spec.dtype, spec.dims):
        yield f"{spec.path} is {dtype} {shape} {dims}, the recipe says {spec.dtype} {spec.shape} {spec.dims}"
