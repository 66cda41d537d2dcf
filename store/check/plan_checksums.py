"""Compare the plan-written part of a store with the checksums that `create` recorded in `commits/plan.json`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from keybed.store.disk.durable import sha256_of
from keybed.store.format.array_specs import ArraySpec
from keybed.store.format.layout import Layout
from keybed.store.read.store import Store


def plan_problems(store: Store) -> Iterator[str]:
    """All that is wrong with recipe, recordings, notes, array metadata and plan-written columns, one sentence each."""
    layout = Layout(store.path)
    try:
        objects = json.loads(layout.plan_commit.read_bytes())["objects"]
        expected = {name: (entry["bytes"], entry["sha256"]) for name, entry in objects.items()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        yield f"{layout.plan_commit} cannot be read ({error}), so nothing can be checked against it"
        return
    for name, (length, digest) in sorted(expected.items()):
        file = layout.root / name
        if not file.is_file():
            yield f"{name} is missing"
        elif file.stat().st_size != length or sha256_of(file) != digest:
            yield f"{name} is not what was planned (sha256 differs)"
    for spec in store.specs:
        metadata = layout.array(spec.path) / "zarr.json"
        if metadata.is_file():
            yield from _metadata_problems(metadata, spec)


def _metadata_problems(file: Path, spec: ArraySpec) -> Iterator[str]:
    try:
        metadata = json.loads(file.read_bytes())
        shape, dtype, dims = tuple(metadata["shape"]), metadata["data_type"], tuple(metadata["dimension_names"])
    except (ValueError, KeyError, TypeError) as error:
        yield f"{spec.path}/zarr.json cannot be read ({error})"
        return
    if (shape, dtype, dims) != (spec.shape, spec.dtype, spec.dims):
        yield f"{spec.path} is {dtype} {shape} {dims}, the recipe says {spec.dtype} {spec.shape} {spec.dims}"
