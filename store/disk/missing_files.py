"""List the files that a store should have and has not.

Only names are compared, with one listing per folder, so that opening stays quick on a slow file system.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from keybed.store.format.array_specs import ArraySpec
from keybed.store.format.layout import Layout, object_key


def missing_files(
    layout: Layout, specs: Sequence[ArraySpec], planned: Iterable[str], committed: Iterable[int]
) -> list[str]:
    """Missing files that the plan wrote or that the commits of these shards list, as paths within the store.

    planned: the paths that commits/plan.json lists.
    """
    missing = [name for name in ("recordings.json", "places.json") if not (layout.root / name).is_file()]
    notes = {entry.name for entry in layout.notes.iterdir()} if layout.notes.is_dir() else set()
    missing += [name for name in planned if name.startswith("notes/") and name.removeprefix("notes/") not in notes]
    return missing + missing_array_files(layout, specs, committed)


def missing_array_files(layout: Layout, specs: Sequence[ArraySpec], committed: Iterable[int]) -> list[str]:
    """Missing metadata and data files of these arrays, as paths within the store."""
    missing = []
    shards = sorted(committed)
    for spec in specs:
        folder = layout.array(spec.path)
        existing = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
        numbers = [0] if spec.writer == "plan" else shards
        names = ["zarr.json", *(object_key(shard, len(spec.shape)) for shard in numbers)]
        missing += [f"features.zarr/{spec.path}/{name}" for name in names if name not in existing]
    return missing
