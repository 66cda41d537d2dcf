"""Readers of single arguments, and the arguments that several subcommands share."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path


def whole_from(least: int) -> Callable[[str], int]:
    """A reader of whole numbers from `least` on."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(f"{text}: a whole number from {least} on")
        return value

    return read


def names(text: str) -> tuple[str, ...]:
    """`a,b` as ("a", "b")."""
    parts = tuple(part.strip() for part in text.split(",") if part.strip())
    if not parts:
        raise argparse.ArgumentTypeError("at least one name is needed")
    return parts


def numbers(text: str) -> tuple[int, ...]:
    """`3,17-19` as (3, 17, 18, 19)."""
    values: list[int] = []
    for part in names(text):
        first, dash, last = part.partition("-")
        try:
            values += range(int(first), int(last if dash else first) + 1)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{part!r}: numbers and ranges such as 3,17-19") from error
    if not values:
        raise argparse.ArgumentTypeError(f"{text!r} names no number")
    return tuple(values)


def rate(text: str) -> tuple[str, float]:
    """`gpu:mert=900` as ("gpu:mert", 900.0)."""
    name, _, rows = text.partition("=")
    try:
        value = float(rows)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: a name and rows per second, such as gpu:mert=900") from error
    if not name or not value > 0:
        raise argparse.ArgumentTypeError(f"{text!r}: a name and rows per second above 0")
    return name, value


def add_paths(parser: argparse.ArgumentParser, *, corpus: bool = True) -> None:
    """Add where files lie on this machine, if they have moved since the plan. corpus: whether the corpus is read."""
    if corpus:
        parser.add_argument("--maestro", type=Path, help="the corpus on this machine, if it has moved since the plan")
    parser.add_argument("--soundfont", type=Path, help="the soundfont on this machine, likewise")
    parser.add_argument("--note-bank", type=Path, help="the note bank on this machine, likewise")
    from keybed.extract.config import WEIGHTS

    for name in WEIGHTS:
        help = f"the planned weights of {name} on this machine: a file, a folder, or the planned id if it is cached"
        parser.add_argument(f"--{name}-weights", metavar="ID|DIR", help=help)


def given_paths(options: argparse.Namespace) -> dict[str, str]:
    """The paths that `add_paths` read, by the names that a store has for them."""
    from keybed.extract.config import WEIGHTS

    paths = {
        "maestro": getattr(options, "maestro", None),
        "soundfont": options.soundfont,
        "note-bank": options.note_bank,
    }
    paths |= {f"weights/{name}": getattr(options, f"{name}_weights") for name in WEIGHTS}
    return {name: str(path) for name, path in paths.items() if path is not None}
