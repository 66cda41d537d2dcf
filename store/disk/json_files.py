"""Small JSON files: read with limits, so that a damaged or hostile file is a ValueError, and sealed with their own checksum."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from keybed.store.disk.durable import canonical

LARGEST_BYTES = 1 << 28
"""`recordings.json` of MAESTRO has 1 MB."""
DEEPEST = 64
SEAL = "sha256"
"""Key of a sealed file's own checksum."""


def read_json(path: Path) -> Any:
    """The JSON of one file. Raises ValueError (not JSON, too large, too deep, not a number, not text) and OSError."""
    size = path.stat().st_size
    if size > LARGEST_BYTES:
        raise ValueError(f"{size} bytes are too many for this file")
    return parsed_json(path.read_bytes())


def read_json_object(path: Path) -> dict[str, Any]:
    """The JSON object of one file. Raises ValueError, as for a list or null, and OSError."""
    data = read_json(path)
    if not isinstance(data, dict):
        raise ValueError(f"{'null' if data is None else type(data).__name__} instead of a JSON object")
    return data


def parsed_json(data: bytes) -> Any:
    """JSON of at most DEEPEST levels, without NaN, infinities and lone surrogates. Raises ValueError."""
    if not data:
        raise ValueError("the file is empty")
    try:
        plain = json.loads(data, parse_constant=_not_a_number)
    except RecursionError:
        raise ValueError(f"nested deeper than {DEEPEST} levels") from None
    level = [plain]
    for _ in range(DEEPEST):
        level = [inner for value in level if isinstance(value, dict | list) for inner in _values(value)]
        if not level:
            break
    else:
        raise ValueError(f"nested deeper than {DEEPEST} levels")
    if b"\\ud" in data.lower():
        json.dumps(plain, ensure_ascii=False).encode()  # raises UnicodeEncodeError, a ValueError
    return plain


def sealed(data: Mapping[str, Any]) -> bytes:
    """Canonical JSON of the data with the sha256 of their canonical JSON under SEAL."""
    return canonical({**data, SEAL: _digest(data)})


def unsealed(plain: Mapping[str, Any]) -> dict[str, Any]:
    """The data without their checksum. Raises ValueError where it does not match; files of old stores have none."""
    data = {key: value for key, value in plain.items() if key != SEAL}
    if SEAL in plain and plain[SEAL] != _digest(data):
        raise ValueError("its checksum does not match its content")
    return data


def _digest(data: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical(dict(data))).hexdigest()


def _values(value: dict[str, Any] | list[Any]) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else value


def _not_a_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not allowed")
