"""An argument parser that gets its arguments when it first parses, so that `keybed --help` imports no configuration.

A misspelt command or option is an error that names the one most like it, below the usage of the command that was meant.
Every help ends in an example, and every command has --quiet and --verbose, which `keybed.experiments.cli.output` obeys.
"""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn


class CommandParser(argparse.ArgumentParser):
    """`fill`, where it is set, adds the arguments; it is called once, before the first parse.

    example: a command line that help ends in, without its first word `keybed`.
    """

    fill: Callable[[argparse.ArgumentParser], None] | None = None

    def __init__(self, *, example: str = "", **settings: Any) -> None:
        super().__init__(**settings)
        self.example = example
        # SUPPRESS: `keybed -q info STORE` and `keybed info STORE -q` set the same, and neither resets the other.
        output = self.add_argument_group("output", argument_default=argparse.SUPPRESS)
        output.add_argument("-q", "--quiet", action="store_true", help="print no progress and no summary")
        output.add_argument(
            "-v", "--verbose", action="store_true", help="also print versions, time, memory, and where an error arose"
        )

    def filled(self) -> CommandParser:
        """This parser with its arguments added."""
        fill, self.fill = self.fill, None
        if fill is not None:
            fill(self)
        return self

    def format_help(self) -> str:
        """As argparse does, with the example at the end."""
        text = super(CommandParser, self.filled()).format_help()
        return f"{text}\nexample:\n  keybed {self.example}\n" if self.example else text

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does, with the arguments added first."""
        return super(CommandParser, self.filled()).parse_known_args(args, namespace)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does, but the command itself refuses what it does not know, and not the parser above it."""
        words = sys.argv[1:] if args is None else list(args)
        options, unknown = self.parse_known_args(words, namespace)
        if unknown:
            self._command_of(words).refuse(unknown)
        return options

    def refuse(self, unknown: Sequence[str]) -> NoReturn:
        """End with the usage and what is unknown."""
        option = next((word for word in unknown if word.startswith("-")), None)
        if option is None:
            self.error(f"one argument too many: {unknown[0]}")
        self.error(f"no option {option}{_like(option.partition('=')[0], self._option_string_actions)}")

    def error(self, message: str) -> NoReturn:
        """As argparse does; a command that does not exist is answered with the one most like it."""
        misspelt = re.fullmatch(r"argument \w+: invalid choice: '(.*)' \(choose from .*\)", message, re.DOTALL)
        commands = self.commands()
        if misspelt and commands and misspelt[1] not in commands:
            message = f"no command {misspelt[1]}{_like(misspelt[1], commands)}; `{self.prog} --help` lists all"
        super().error(message)

    def commands(self) -> dict[str, CommandParser]:
        """The subcommands by name."""
        groups = [action for action in self._actions if isinstance(action, argparse._SubParsersAction)]
        return dict(groups[0].choices) if groups else {}

    def _command_of(self, words: Sequence[str]) -> CommandParser:
        parser = self
        for word in words:
            parser = parser.commands().get(word, parser)
        return parser


def _like(word: str, known: Iterable[str]) -> str:
    names = {name.lstrip("-"): name for name in known}
    close = difflib.get_close_matches(word.lstrip("-"), names, 1)
    return f"; did you mean {names[close[0]]}?" if close else ""


def add_command(
    subcommands: Any,
    name: str,
    words: str,
    fill: Callable[[argparse.ArgumentParser], None],
    *,
    example: str,
    prints: bool = False,
) -> None:
    """Add a subcommand.

    words: what it does, beginning with a verb, for the list of commands and its own help. example: a command line without
    its first word `keybed`, for the end of its help. prints: its product is what it prints, which --quiet leaves.
    """
    command = subcommands.add_parser(name, help=words, description=words, example=example)
    command.set_defaults(prints=prints)
    command.fill = fill
