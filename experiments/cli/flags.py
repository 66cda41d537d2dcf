"""Arguments of a subcommand from the fields of a frozen dataclass, and the dataclass from the parsed arguments.

Types: bool (a switch), int, float, str, Path, Literal, tuples of them, each or None. A tuple of str or int is one
argument, `a,b` or `3,17-19`. Not tyro: it needs 0.07 s more at every start, and every configuration imported for `--help`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, fields
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from keybed.experiments.cli.arguments import names, numbers, whole_from
from keybed.store.option import NoOption, Option

Config = TypeVar("Config")


def options_of(config: type[Any]) -> Iterator[tuple[Field[Any], Any, Option | NoOption]]:
    """Each field of a configuration, its type without `None`, and its Option. Raises TypeError for a field with neither."""
    hints = get_type_hints(config, include_extras=True)
    for field in fields(config):
        hint = hints[field.name]
        if get_origin(hint) is not Annotated:
            raise TypeError(f"{config.__name__}.{field.name}: say Annotated[…, Option(…)] or NoOption(…)")
        kind, option, *_ = get_args(hint)
        inner = [part for part in get_args(kind) if part is not NoneType]
        yield field, inner[0] if NoneType in get_args(kind) else kind, option


def add_options(parser: argparse.ArgumentParser, config: type[Any]) -> None:
    """Add an argument for every field that has an Option."""
    for field, kind, option in options_of(config):
        if isinstance(option, Option):
            _add(parser, field, kind, option)


def _add(parser: argparse.ArgumentParser, field: Field[Any], kind: Any, option: Option) -> None:
    default = None if field.default is MISSING else field.default
    words = option.flag or "--" + ("no-" if default is True else "") + field.name.replace("_", "-")
    if kind is bool:
        action = "store_false" if default else "store_true"
        parser.add_argument(words, dest=field.name, action=action, default=default, help=_escaped(option.help))
        return
    settings = {**_reading(kind, option), "metavar": option.metavar, "help": _help(option, default)}
    if option.positional:
        parser.add_argument(field.name, **settings)
    else:
        required = field.default is MISSING and field.default_factory is MISSING
        parser.add_argument(words, dest=field.name, default=default, required=required, **settings)


def _reading(kind: Any, option: Option) -> dict[str, Any]:
    """How argparse reads a value of this type."""
    if get_origin(kind) is Literal:
        return {"choices": get_args(kind)}
    if option.choices:
        return {"choices": option.choices}
    if kind is int:
        return {"type": whole_from(option.least)}
    if kind in (float, str, Path):
        return {"type": kind}
    if kind == tuple[str, ...]:
        return {"type": names}
    if kind == tuple[int, ...]:
        return {"type": numbers}
    if kind == tuple[Path, ...]:
        return {"type": Path, "nargs": "+"}
    raise TypeError(f"no argument can be read as {kind}")


def _help(option: Option, default: object) -> str:
    shown = ",".join(map(str, default)) if isinstance(default, tuple) else default
    suffix = "" if shown in (None, "") else f" (default: {f'{shown:g}' if isinstance(shown, float) else shown})"
    return _escaped(option.help + suffix)


def _escaped(text: str) -> str:
    return text.replace("%", "%%")


def config_from(config: type[Config], arguments: argparse.Namespace, given: Mapping[str, Any] | None = None) -> Config:
    """The configuration that was asked for on the command line; `given`: fields without a flag, and fields to set otherwise."""
    values = {
        field.name: getattr(arguments, field.name)
        for field, _, option in options_of(config)
        if isinstance(option, Option)
    }
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    return config(**{**values, **(given or {})})
