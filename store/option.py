"""How a field of a configuration appears on the command line: the second part of `Annotated[type, Option(...)]`.

The field's name, type and default stay in the dataclass; the command line reads them there, so that each stands once.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Option:
    """One field's help, and what cannot be read from its name and type.

    flag: where it is not `--` and the field's name (`--no-` and the name for a bool that is true by default).
    positional: an argument by its place instead of a flag. choices: the allowed values of a str that is no Literal.
    least: the smallest value of an int.
    """

    help: str
    flag: str | None = None
    metavar: str | None = None
    positional: bool = False
    choices: tuple[str, ...] | None = None
    least: int = 1


@dataclass(frozen=True)
class NoOption:
    """A field without a flag of its own, and why."""

    reason: str
