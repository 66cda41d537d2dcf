"""Arguments that several subcommands share, and their parsing."""

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


positive, whole = whole_from(1), whole_from(0)


def names(text: str) -> tuple[str, ...]:
    """`a,b` as ("a", "b")."""
    found = tuple(part.strip() for part in text.split(",") if part.strip())
    if not found:
        raise argparse.ArgumentTypeError("at least one name is needed")
    return found


def numbers(text: str) -> tuple[int, ...]:
    """`3,17-19` as (3, 17, 18, 19)."""
    found: list[int] = []
    for part in names(text):
        first, dash, last = part.partition("-")
        try:
            found += range(int(first), int(last if dash else first) + 1)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{part!r}: numbers and ranges such as 3,17-19") from error
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} names no number")
    return tuple(found)


def rate(text: str) -> tuple[str, float]:
    """`gpu:mert=900` as ("gpu:mert", 900.0)."""
    name, _, rows = text.partition("=")
    try:
        value = float(rows)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: a name and rows a second, such as gpu:mert=900") from error
    if not name or not value > 0:
        raise argparse.ArgumentTypeError(f"{text!r}: a name and rows a second above 0")
    return name, value


def add_store(parser: argparse.ArgumentParser) -> None:
    """The positional STORE."""
    parser.add_argument("store", metavar="STORE", type=Path, help="the store's folder")


def add_out(parser: argparse.ArgumentParser, what: str = "folder of the run") -> None:
    """The required --out."""
    parser.add_argument("--out", metavar="RUN", type=Path, required=True, help=what)


def add_places(parser: argparse.ArgumentParser) -> None:
    """Where things lie here, if they have moved since the plan."""
    parser.add_argument("--maestro", type=Path, help="where the corpus lies here, if it has moved since the plan")
    parser.add_argument("--soundfont", type=Path, help="where the soundfont lies here, likewise")
    parser.add_argument("--mert-weights", type=Path, help="where MERT's weight file lies here, likewise")
    parser.add_argument("--midibert-weights", type=Path, help="where MIDIBert's checkpoint lies here, likewise")


def given_places(options: argparse.Namespace) -> dict[str, str]:
    """What `add_places` was told, by the names that a store has for places."""
    places = {
        "maestro": options.maestro,
        "soundfont": options.soundfont,
        "weights/mert": options.mert_weights,
        "weights/midibert": options.midibert_weights,
    }
    return {name: str(place) for name, place in places.items() if place is not None}
