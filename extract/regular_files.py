"""Find a corpus's file by its name and check that it is a regular file, before anything opens it."""

from __future__ import annotations

import os
import stat
import unicodedata
from pathlib import Path, PurePosixPath


def find_file(folder: Path, name: str) -> Path:
    """folder / name, or the file there whose name differs only in how its accents are encoded (Unicode NFC and NFD).

    macOS writes "é" as two code points into archives, most other systems as one. Where neither exists, or the folder
    cannot be listed, the result is folder / name.
    """
    if name.isascii() or os.path.lexists(folder / name):
        return folder / name
    path = folder
    for part in PurePosixPath(name).parts:
        path = path / (part if os.path.lexists(path / part) else _equivalent(path, part))
    return path


def _equivalent(folder: Path, name: str) -> str:
    try:
        entries = [entry.name for entry in folder.iterdir()]
    except OSError:
        return name
    wanted = unicodedata.normalize("NFC", name)
    return min((entry for entry in entries if unicodedata.normalize("NFC", entry) == wanted), default=name)


def size_of(path: Path) -> int:
    """Bytes of a regular file. Raises OSError, with a strerror, for anything else.

    A named pipe or a device counts as unreadable, because reading it could wait for ever. The error's text names no folder.
    """
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise OSError(0, "a folder, not a file")
    if not stat.S_ISREG(status.st_mode):
        raise OSError(0, "a named pipe, socket or device, not a file; it was not read")
    return status.st_size
