"""A tar file whose members have one time and one mode, so that equal contents give equal bytes."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from typing import IO


class ReproducibleTar:
    """Adds members in one folder to an open tar and keeps their checksums.

    sums: one line per member, in the format of `sha256sum`.
    """

    def __init__(self, tar: tarfile.TarFile, folder: str) -> None:
        self._tar, self._folder = tar, folder
        self.sums: list[str] = []

    def add(self, name: str, data: bytes) -> None:
        """Add one member with these bytes."""
        self._put(name, io.BytesIO(data), len(data), hashlib.sha256(data).hexdigest())

    def add_file(self, name: str, file: IO[bytes]) -> None:
        """Add one member with the whole content of an open, seekable file."""
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
        file.seek(0)
        self._put(name, file, size, digest)

    def _put(self, name: str, file: IO[bytes], size: int, digest: str) -> None:
        member = tarfile.TarInfo(f"{self._folder}/{name}")
        member.size, member.mtime, member.mode = size, 0, 0o644
        self._tar.addfile(member, file)
        self.sums.append(f"{digest}  {name}\n")
