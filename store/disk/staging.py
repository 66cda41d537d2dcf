"""Staging folders: arrays and stores are made in one, then renamed to their final names."""

from __future__ import annotations

import glob
import os
import shutil
import socket
import uuid
from pathlib import Path


def staging_folder(parent: Path, stem: str) -> Path:
    """Create `.STEM.HOST.PID.TOKEN.creating` in parent, and delete those of processes of this host that have ended."""
    host = socket.gethostname()
    for folder in parent.glob(f".{glob.escape(stem)}.{host}.*.creating"):
        pid = folder.name.split(".")[-3]
        if pid.isdecimal() and not Path("/proc", pid).exists():
            shutil.rmtree(folder)
    folder = parent / f".{stem}.{host}.{os.getpid()}.{uuid.uuid4().hex[:8]}.creating"
    folder.mkdir()
    return folder
