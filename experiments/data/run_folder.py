"""A run's folder: config.json, results.json, gate.json, checkpoints/, report.html. Each file is replaced in one step."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from io import BufferedRandom
from pathlib import Path
from typing import Any

from keybed.experiments.data.json_codec import plain
from keybed.experiments.data.written_by import NewerKeybed, why_not_read
from keybed.store.disk.durable import disk_error, replace_file
from keybed.store.errors import KeybedError

DELETE_AND_RUN = (
    "delete it and run the same phase with the same options again; what is trained already is read, not trained again"
)
"""What to do where one file of a run is damaged."""


CONFIG = "config.json"
FORMAT_VERSION = 1
"""Of a run's files. Raise it whenever an older version of Keybed would misread them; runs that do not name it have format 1."""
PATHS = "places.json"
"""Where the store, and the run before, lay on this machine when the run began. It shapes no number."""


class RunTaken(KeybedError):
    """The run's folder holds a run of another configuration."""


class RunDamaged(KeybedError):
    """A file of a run is cut, empty or altered; the message names it and what to delete."""


@contextmanager
def replace_run_file(path: Path) -> Iterator[BufferedRandom]:
    """`replace_file` with named errors: NoDiskSpace, ReadOnlyStore, StoreError. A crash leaves the old file or the new one."""
    try:
        with replace_file(path) as file:
            yield file
    except OSError as error:
        raise disk_error(error, path) from error


def write_json(path: Path, value: Any) -> Path:
    """Write plain JSON, UTF-8, as `replace_run_file` does."""
    text = json.dumps(plain(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    with replace_run_file(path) as file:
        file.write(text.encode())
    return path


def read_json(path: Path, remedy: str = DELETE_AND_RUN) -> dict[str, Any]:
    """Read a run's JSON file.

    Raises KeybedError where it is absent, and RunDamaged, which ends with `remedy`, where it holds no JSON object.
    """
    if not path.is_file():
        raise KeybedError(f"{path} is absent: {path.parent} is no finished run")
    try:
        values = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
        json.dumps(values, ensure_ascii=False).encode()  # a lone surrogate could not be written again
    except (OSError, ValueError, RecursionError) as error:
        raise RunDamaged(f"{path} is damaged ({_why(error)}): {remedy}") from error
    if not isinstance(values, dict):
        raise RunDamaged(f"{path} is damaged (it holds a {type(values).__name__}, no object): {remedy}")
    return values


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _why(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return "nested too deeply" if isinstance(error, RecursionError) else str(error).partition("\n")[0][:120]


def start_run(out: Path, config: Any, fingerprint: str) -> Path:
    """Make the folder and write config.json; the same configuration goes on in a folder that it began.

    A caller checks everything that it can check before, so that a wrong option leaves no folder. Raises RunTaken where the
    folder holds another configuration, NewerKeybed where a newer version began it, RunDamaged where its config.json cannot be
    read, KeybedError where it cannot be written.
    """
    shaping = plain({k: v for k, v in asdict(config).items() if k not in ("out", "store", "after", "log")})
    described = {
        "kind": type(config).__name__,
        "store": fingerprint,
        "config": shaping,
        "version": version("keybed"),
        "format_version": FORMAT_VERSION,
    }
    path = out / CONFIG
    if path.exists():
        check_version(out)
        other = _differences(read_json(path), described)
        if other:
            raise RunTaken(
                f"{out} holds a run of another configuration or store ({'; '.join(other)}): give another --out, or delete {out}"
            )
        return path
    try:
        out.mkdir(parents=True, exist_ok=True)
        _write_paths(out, config)
        return write_json(path, described)
    except OSError as error:
        raise KeybedError(f"--out {out} cannot be written ({error.strerror or error}); give another folder") from error


def check_version(run: Path) -> None:
    """Raise NewerKeybed where a newer version of Keybed wrote a run, or where its format is not known."""
    path = run / CONFIG
    if not path.is_file():
        return
    config = read_json(path)
    problem = why_not_read(
        f"the run {run}", config.get("format_version", 1), range(1, FORMAT_VERSION + 1), config.get("version")
    )
    if problem is not None:
        raise NewerKeybed(f"{problem}, or run its phase again with this version in another folder")


def _write_paths(out: Path, config: Any) -> None:
    """Keep where the run's input lies, so that later commands on the run need not be told."""
    paths = {name: getattr(config, name, None) for name in ("store", "after")}
    given = {name: path.absolute() for name, path in paths.items() if isinstance(path, Path)}
    if given:
        write_json(out / PATHS, given)


def read_paths(run: Path) -> dict[str, str]:
    """Where the run's input lay when it began, by name: "store", "after"; empty for runs from before they kept it."""
    file = run / PATHS
    return {str(k): str(v) for k, v in read_json(file).items()} if file.is_file() else {}


def _differences(written: dict[str, Any], described: dict[str, Any]) -> list[str]:
    """What differs between a run's config.json and the one that is asked for, in words."""
    if written.get("kind") != described["kind"]:
        return [f"a {written.get('kind')} there, a {described['kind']} here"]
    listed = [] if written.get("store") == described["store"] else ["another store"]
    saved, here = written.get("config"), described["config"]
    if not isinstance(saved, dict):
        return [*listed, "no configuration there"]
    return listed + [
        f"{key}: {saved.get(key)} there, {here.get(key)} here"
        for key in dict.fromkeys((*here, *saved))
        if saved.get(key) != here.get(key)
    ]
