"""The JSON schema (draft 2020-12) of a dataclass that `json_codec` writes."""

from __future__ import annotations

import types
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from keybed.experiments.data.json_codec import json_properties, layout

_SIMPLE = {str: "string", bool: "boolean", int: "integer", Path: "string"}


def schema(kind: type, title: str) -> dict[str, Any]:
    """The schema of one dataclass; the dataclasses in it are its `$defs`."""
    definitions: dict[str, Any] = {}
    whole = _object(kind, definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        **whole,
        "$defs": dict(sorted(definitions.items())),
    }


def _object(kind: type, definitions: dict[str, Any]) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    required: list[str] = []
    for f in layout(kind):
        if f.flat:
            inner = _object(f.kind, definitions)
            properties |= inner["properties"]
            required += inner["required"]
            continue
        properties[f.key] = _schema(f.kind, definitions)
        if f.required:
            required.append(f.key)
    for name in json_properties(kind):
        properties[name] = _schema(get_type_hints(getattr(kind, name).fget)["return"], definitions)
    text = (kind.__doc__ or "").partition("\n")[0]
    return {
        "description": text,
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _schema(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    origin, arguments = get_origin(kind), get_args(kind)
    if is_dataclass(kind) and isinstance(kind, type):
        if kind.__name__ not in definitions:
            definitions[kind.__name__] = {}
            definitions[kind.__name__] = _object(kind, definitions)
        return {"$ref": f"#/$defs/{kind.__name__}"}
    if origin in (Union, types.UnionType):
        (inner,) = (_schema(a, definitions) for a in arguments if a is not type(None))
        return inner if inner == _schema(float, definitions) else {"anyOf": [inner, {"type": "null"}]}
    if origin is tuple:
        return {"type": "array", "items": _schema(arguments[0], definitions)}
    if origin is dict:
        return {"type": "object", "additionalProperties": _schema(arguments[1], definitions)}
    if origin is Literal:
        return {"enum": list(arguments)}
    if kind is float:
        return {"type": ["number", "null"]}
    return {"type": _SIMPLE[kind]} if kind in _SIMPLE else {}
