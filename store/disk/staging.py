"""Folders in which something is made before it is renamed into place, and what is left of them after a kill."""

from __future__ import annotations

import glob
import os
import shutil
import socket
import uuid
from pathlib import Path


def staging_folder(parent: Path, stem: str) -> Path:
    """Make `.STEM.HOST.PID.TOKEN.creating` in parent, and remove those whose process on this host is gone."""
    host = socket.gethostname()
    for litter in parent.glob(f".{glob.escape(stem)}.{host}.*.creating"):
        pid = litter.name.split(".")[-3]
        if pid.isdecimal() and not Path("/proc", pid).exists():
            shutil.rmtree(litter)
    folder = parent / f".{stem}.{host}.{os.getpid()}.{uuid.uuid4().hex[:8]}.creating"
    folder.mkdir()
    return folder
