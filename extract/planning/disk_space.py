"""Check before planning that the disk has enough free space for the store."""

from __future__ import annotations

import shutil
from pathlib import Path

from keybed.extract.planning.estimate import Estimate, human_size
from keybed.store.errors import NoDiskSpace

FREE_SPACE_MARGIN = 1.02
"""Free bytes required, as a multiple of the estimate before compression."""


def check_disk_space(store: Path, costs: Estimate) -> None:
    """Raise NoDiskSpace where the disk has less free space than the store still needs.

    Files that the store already holds are subtracted from the estimate.
    """
    folder = store.absolute()
    present = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) if folder.is_dir() else 0
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    needed = costs.total_bytes * FREE_SPACE_MARGIN - present
    if free < needed:
        raise NoDiskSpace(
            f"{folder}: {human_size(free)} free, but {store} may need {human_size(needed)} more; choose another disk, "
            "a --limit, or fewer --encoders (--no-room-check skips this check)"
        )
