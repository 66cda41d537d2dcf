"""A run's folder: config.json, results.json, gate.json, checkpoints/, report.html. Written aside, then renamed."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from keybed.store.disk.durable import replace_file
from keybed.store.errors import KeybedError
from keybed.store.format.vocabulary import Status
from keybed.store.read.store import Store


class RunTaken(KeybedError):
    """The run's folder holds a run of another configuration."""


def plain(value: Any) -> Any:
    """JSON types only: NumPy scalars and arrays become numbers and lists, NaN and infinities null, paths text."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "to_json"):
        return plain(value.to_json())
    return value


def write_json(path: Path, value: Any) -> Path:
    """Write plain JSON, UTF-8; a crash leaves the old file or the new one."""
    text = json.dumps(plain(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    with replace_file(path) as file:
        file.write(text.encode())
    return path


def read_json(path: Path) -> dict[str, Any]:
    """Read a run's JSON file. Raises KeybedError where it is absent."""
    if not path.is_file():
        raise KeybedError(f"{path} is absent: {path.parent} is no finished run")
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def start_run(out: Path, config: Any, fingerprint: str) -> Path:
    """Make the folder and write config.json; the same configuration goes on in a folder that it began.

    Raises RunTaken where the folder holds another configuration, KeybedError where it cannot be written.
    """
    shaping = plain({k: v for k, v in asdict(config).items() if k not in ("out", "store", "after")})
    described = {"kind": type(config).__name__, "store": fingerprint, "config": shaping, "version": version("keybed")}
    path = out / "config.json"
    if path.is_file():
        there = json.loads(path.read_text(encoding="utf-8"))
        if {k: there.get(k) for k in ("kind", "store", "config")} != {
            k: described[k] for k in ("kind", "store", "config")
        }:
            raise RunTaken(f"{out} holds a run of another configuration or store ({path}); give another --out")
        return path
    try:
        out.mkdir(parents=True, exist_ok=True)
        return write_json(path, described)
    except OSError as error:
        raise KeybedError(f"--out {out} cannot be written ({error.strerror or error}); give another folder") from error


def about_store(store: Store) -> dict[str, Any]:
    """What every report says about the data: fingerprint, profile, audio source, encoders, rows that could not be made."""
    status = store.rows(status=None).status
    return {
        "fingerprint": store.fingerprint,
        "n_rows": store.n_rows,
        "profile": store.recipe.degradation.get("profile", "unknown"),
        "audio_source": store.recipe.audio.get("source", "unknown"),
        "window_s": store.recipe.segments.get("window_s"),
        "encoders": [
            {
                "name": e.name,
                "modality": e.modality,
                "source": e.source,
                "random": e.random_weights,
                "revision": e.revision,
            }
            for e in store.recipe.encoders
        ],
        "status": {Status(int(code)).name: int((status == code).sum()) for code in np.unique(status)},
    }


def machine() -> dict[str, Any]:
    """Where a run ran, for the footer; shapes no number that is compared."""
    return {
        "system": platform.system(),
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }
