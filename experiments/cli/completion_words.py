"""Every word that a shell may complete after `keybed`, read from the parsers of the command line."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from keybed.experiments.cli.command_parser import CommandParser

Value = Literal["none", "file", "text"] | tuple[str, ...]
"""What follows an option: nothing, a file, some other text, or one of these words."""


@dataclass(frozen=True)
class OptionWords:
    """One option: its spellings, its help in one line, and its value."""

    flags: tuple[str, ...]
    help: str
    value: Value


@dataclass(frozen=True)
class CommandWords:
    """One command. path: () for `keybed` itself, ("phase5", "select"). argument: what its positional arguments are."""

    path: tuple[str, ...]
    help: str
    commands: tuple[str, ...]
    options: tuple[OptionWords, ...]
    argument: Value


def command_words(parser: CommandParser, path: tuple[str, ...] = ()) -> list[CommandWords]:
    """The command of this parser, then every command below it."""
    commands = parser.filled().commands()
    positional = [action for action in parser._get_positional_actions() if action.dest not in ("command", "help")]
    own = CommandWords(
        path=path,
        help=" ".join((parser.description or "").split()),
        commands=tuple(commands),
        options=tuple(
            OptionWords(tuple(action.option_strings), _help(parser, action), _value(action))
            for action in parser._get_optional_actions()
        ),
        argument="none" if commands or not positional else _value(positional[0]),
    )
    return [own, *(words for name, command in commands.items() for words in command_words(command, (*path, name)))]


def _value(action: argparse.Action) -> Value:
    if action.nargs == 0:
        return "none"
    if action.choices is not None:
        return tuple(map(str, action.choices))
    is_file = action.type is Path or any(word in str(action.metavar) for word in ("DIR", "FILE"))
    return "file" if is_file else "text"


def _help(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    return " ".join(parser._get_formatter()._expand_help(action).split()) if action.help else ""
