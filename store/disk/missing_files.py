"""Are all files of a store there? Names only: one listing a folder, so that opening stays quick on a slow file system."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from keybed.store.format.array_specs import ArraySpec
from keybed.store.format.layout import Layout, object_key


def missing_files(layout: Layout, specs: Sequence[ArraySpec], done: Iterable[int]) -> list[str]:
    """Everything that the plan wrote or a commit promises and that is not there, as paths within the store."""
    missing = [name for name in ("recordings.json", "places.json") if not (layout.root / name).is_file()]
    notes = {entry.name for entry in layout.notes.iterdir()} if layout.notes.is_dir() else set()
    if layout.plan_commit.is_file():
        sealed = json.loads(layout.plan_commit.read_bytes())["objects"]
        missing += [name for name in sealed if name.startswith("notes/") and name.removeprefix("notes/") not in notes]
    else:
        missing.append("commits/plan.json")
    shards = sorted(done)
    for spec in specs:
        folder = layout.array(spec.path)
        there = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
        wanted = [0] if spec.writer == "plan" else shards
        names = ["zarr.json", *(object_key(shard, len(spec.shape)) for shard in wanted)]
        missing += [f"features.zarr/{spec.path}/{name}" for name in names if name not in there]
    return missing
