"""`places.json`: where corpus, soundfont and weights lie on this machine. It is no part of the recipe."""

from __future__ import annotations

from pathlib import Path

from keybed.store.disk.json_files import read_json_object


def read_machine_paths(file: Path) -> dict[str, str]:
    """Name → path. Raises OSError and ValueError."""
    paths = read_json_object(file)
    if not all(isinstance(path, str) and path and "\0" not in path for path in paths.values()):
        raise ValueError("not every value is a path")
    return paths
