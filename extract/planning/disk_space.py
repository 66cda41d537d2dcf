"""Whether the disk has room for a store, asked before anything is written."""

from __future__ import annotations

import shutil
from pathlib import Path

from keybed.extract.planning.estimate import Estimate, human_size
from keybed.store.errors import NoDiskSpace

FREE_SPACE_MARGIN = 1.02
"""Free bytes that are asked for, as a multiple of the estimate before compression."""


def check_disk_space(store: Path, costs: Estimate) -> None:
    """Raise NoDiskSpace where the store's disk has less free than the estimate, what lies there already not counted."""
    folder = store.absolute()
    there = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) if folder.is_dir() else 0
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    needed = costs.total_bytes * FREE_SPACE_MARGIN - there
    if free < needed:
        raise NoDiskSpace(
            f"{folder}: {human_size(free)} free, but {store} may need {human_size(needed)} more; choose another disk, "
            "a --limit, or fewer --encoders (or --no-room-check where you know better)"
        )
