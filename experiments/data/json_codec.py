"""Frozen dataclasses as plain JSON and back, by their type annotations: the one codec of every results.json.

A field's key is its name; `Annotated[T, Key("…")]` gives another one, and `Annotated[T, FLAT]` writes the fields of a nested
dataclass in the object around it. A class may list properties in `JSON_PROPERTIES`: they are
written after its fields for people and other programs, and computed again when the file is read. NaN and infinities are
null in JSON, and null is NaN again where a field's type is `float`.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from keybed.store.errors import KeybedError

T = TypeVar("T")


class JsonMismatch(KeybedError):
    """A JSON file does not have the fields that its dataclass names."""


@dataclass(frozen=True)
class Key:
    """The JSON key of a field, where it differs from the field's name."""

    key: str


@dataclass(frozen=True)
class Flat:
    """Marks a field whose own fields are written in the object around it."""


FLAT = Flat()


def plain(value: Any) -> Any:
    """JSON types only: dataclasses become objects, NumPy values numbers and lists, NaN and infinities null, paths text."""
    if hasattr(value, "to_json"):
        return plain(value.to_json())
    if is_dataclass(value) and not isinstance(value, type):
        written: dict[str, Any] = {}
        for f in layout(type(value)):
            part = plain(getattr(value, f.name))
            written |= part if f.flat else {f.key: part}
        return written | {name: plain(getattr(value, name)) for name in json_properties(type(value))}
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
    return str(value) if isinstance(value, Path) else value


def from_json(kind: type[T], data: Any, file: Path) -> T:
    """Inverse of `plain` for the dataclass `kind`.

    Raises JsonMismatch, which names `file` and the field, for a missing or unknown field or a value of another type.
    """
    made: T = _read(kind, data, file, "")
    return made


@dataclass(frozen=True)
class JsonField:
    """One field of a dataclass. kind: its type; flat: its own fields stand in the object around it."""

    name: str
    key: str
    kind: Any
    flat: bool
    required: bool


@cache
def layout(kind: type) -> tuple[JsonField, ...]:
    """How each field of a dataclass is written."""
    hints = get_type_hints(kind, include_extras=True)
    made = []
    for f in fields(kind):
        hint = hints[f.name]
        hint, *marks = get_args(hint) if get_origin(hint) is Annotated else (hint,)
        key = next((m.key for m in marks if isinstance(m, Key)), f.name)
        required = f.default is MISSING and f.default_factory is MISSING
        made.append(JsonField(f.name, key, hint, FLAT in marks, required))
    return tuple(made)


def json_properties(kind: type) -> tuple[str, ...]:
    """Names of the properties that are written after the fields."""
    return getattr(kind, "JSON_PROPERTIES", ())


def _keys(kind: type) -> set[str]:
    """Every key of the object that `kind` is written as."""
    keys = set(json_properties(kind))
    for f in layout(kind):
        keys |= _keys(f.kind) if f.flat else {f.key}
    return keys


def _read(kind: Any, data: Any, file: Path, where: str) -> Any:
    if is_dataclass(kind) and isinstance(kind, type):
        return _read_dataclass(kind, data, file, where)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        if data is None and type(None) in arguments:
            return None
        (inner,) = (a for a in arguments if a is not type(None))
        return _read(inner, data, file, where)
    if origin is tuple and isinstance(data, list):
        return tuple(_read(arguments[0], item, file, f"{where}[{i}]") for i, item in enumerate(data))
    if origin is dict and isinstance(data, dict):
        return {key: _read(arguments[1], item, file, f"{where}.{key}".strip(".")) for key, item in data.items()}
    if kind is float and (data is None or (isinstance(data, int | float) and not isinstance(data, bool))):
        try:
            return float("nan") if data is None else float(data)
        except OverflowError as error:
            raise JsonMismatch(
                f"{file}: {where or 'the file'} is {_short(data)}, no number of 64 bits; {_WAY}"
            ) from error
    if kind is Any or (origin is Literal and data in arguments):
        return data
    if kind is Path and isinstance(data, str):
        return Path(data)
    if isinstance(kind, type) and isinstance(data, kind) and isinstance(data, bool) == (kind is bool):
        return data
    raise JsonMismatch(
        f"{file}: {where or 'the file'} is {_short(data)}, not {getattr(kind, '__name__', kind)}; {_WAY}"
    )


def _read_dataclass(kind: type, data: Any, file: Path, where: str) -> Any:
    if not isinstance(data, dict):
        raise JsonMismatch(f"{file}: {where or 'the file'} is {_short(data)}, not an object; {_WAY}")
    prefix = f"{where}." if where else ""
    unknown = [key for key in data if key not in _keys(kind)]
    if unknown:
        raise JsonMismatch(f"{file}: unknown field {prefix}{unknown[0]}; {_WAY}")
    values = {}
    for f in layout(kind):
        if f.flat:
            own = _keys(f.kind)
            values[f.name] = _read(f.kind, {k: v for k, v in data.items() if k in own}, file, where)
        elif f.key in data:
            values[f.name] = _read(f.kind, data[f.key], file, prefix + f.key)
        elif f.required:
            raise JsonMismatch(f"{file}: field {prefix}{f.key} is missing; {_WAY}")
    return kind(**values)


def _short(data: Any) -> str:
    text = repr(data)
    return text if len(text) <= 60 else f"{text[:57]}…"


_WAY = "run the phase again, or read the file with the version of keybed that wrote it"
