"""A run's folder: config.json, results.json, gate.json, checkpoints/, report.html. Each file is replaced in one step."""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from keybed.experiments.data.json_codec import plain
from keybed.store.disk.durable import replace_file
from keybed.store.errors import KeybedError


class RunTaken(KeybedError):
    """The run's folder holds a run of another configuration."""


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
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return values


def start_run(out: Path, config: Any, fingerprint: str) -> Path:
    """Make the folder and write config.json; the same configuration goes on in a folder that it began.

    Raises RunTaken where the folder holds another configuration, KeybedError where it cannot be written.
    """
    shaping = plain({k: v for k, v in asdict(config).items() if k not in ("out", "store", "after")})
    described = {"kind": type(config).__name__, "store": fingerprint, "config": shaping, "version": version("keybed")}
    path = out / "config.json"
    if path.is_file():
        written = json.loads(path.read_text(encoding="utf-8"))
        if {k: written.get(k) for k in ("kind", "store", "config")} != {
            k: described[k] for k in ("kind", "store", "config")
        }:
            raise RunTaken(f"{out} holds a run of another configuration or store ({path}); give another --out")
        return path
    try:
        out.mkdir(parents=True, exist_ok=True)
        return write_json(path, described)
    except OSError as error:
        raise KeybedError(f"--out {out} cannot be written ({error.strerror or error}); give another folder") from error
