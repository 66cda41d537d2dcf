"""Staging folders: arrays and stores are made in one, then renamed to their final names."""

from __future__ import annotations

import glob
import os
import re
import shutil
import socket
import time
import uuid
from contextlib import suppress
from pathlib import Path

from keybed.store.disk.durable import server_now
from keybed.store.errors import ReadOnlyStore

DERIVED = "derived"
"""Stem of the staging folders of `keybed derive`, in the store's own folder."""

ABANDONED_AFTER_S = 600.0
"""A staging folder of another host counts as abandoned when nothing in it was written for longer."""


def staging_folder(parent: Path, stem: str) -> Path:
    """Create `.STEM.HOST.PID.TOKEN.creating` in parent, and delete those that were abandoned."""
    for folder in abandoned_stagings(parent, stem):
        shutil.rmtree(folder, ignore_errors=True)
    folder = parent / f".{stem}.{socket.gethostname()}.{os.getpid()}.{uuid.uuid4().hex[:8]}.creating"
    folder.mkdir()
    return folder


def abandoned_stagings(parent: Path, stem: str) -> list[Path]:
    """Staging folders of processes of this host that have ended, and of other hosts where nothing was written lately."""
    abandoned = []
    for folder in sorted(parent.glob(f".{glob.escape(stem)}.*.*.creating")):
        match = re.fullmatch(rf"\.{re.escape(stem)}\.(.+)\.([0-9]+)\.[0-9a-f]+\.creating", folder.name)
        if match is None or folder.is_symlink() or not folder.is_dir():
            continue
        if match[1] == socket.gethostname():
            over = not Path("/proc", match[2]).exists()
        else:
            over = _now(parent) - _last_written(folder) > ABANDONED_AFTER_S
        if over:
            abandoned.append(folder)
    return abandoned


def _now(folder: Path) -> float:
    try:
        return server_now(folder)
    except ReadOnlyStore:  # the file server's clock cannot be read; this host's clock stands in
        return time.time()


def _last_written(folder: Path) -> float:
    newest = folder.stat().st_mtime
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            newest = max(newest, path.stat().st_mtime)
    return newest
