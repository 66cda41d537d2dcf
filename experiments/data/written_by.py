"""Which version of Keybed wrote a file, and whether this version reads it."""

from __future__ import annotations

import re
from importlib.metadata import version

from keybed.store.errors import KeybedError


class NewerKeybed(KeybedError):
    """A run is of a newer version of Keybed, or of a format that this version does not know."""


def why_not_read(what: str, format_version: object, known: range, written_by: object) -> str | None:
    """Why this version of Keybed does not read a file, None where it does: a format that is not known, or a newer version.

    what: the file in words, with "the" or its path. known: the formats that this version reads. written_by: the version that
    wrote the file, as it says itself.
    """
    here, highest = version("keybed"), known[-1]
    newer = _numbers(written_by) > _numbers(here)
    formats = f"format {highest}" if len(known) == 1 else f"formats {known[0]} to {highest}"
    writer = f"Keybed {written_by}" if _numbers(written_by) else "a version of Keybed that it does not name"
    if isinstance(format_version, bool) or not isinstance(format_version, int) or format_version not in known:
        of_format = f" in format {format_version!r:.20}"
        this = f"this is Keybed {here}, which reads {formats}"
    elif newer:
        of_format, this = "", f"this is Keybed {here}"
    else:
        return None
    way = f"update Keybed to {written_by}" if newer else "update Keybed"
    return f"{what} was written by {writer}{of_format}; {this}: {way}"


def _numbers(name: object) -> tuple[int, ...]:
    """(0, 2, 1) of "0.2.1.dev3"; nothing of what is no version."""
    found = re.match(r"\d+(?:\.\d+)*", name) if isinstance(name, str) else None
    return tuple(map(int, found.group().split("."))) if found else ()
