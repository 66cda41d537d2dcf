"""An argument parser that gets its arguments when it first parses, so that `keybed --help` imports no configuration."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any


class CommandParser(argparse.ArgumentParser):
    """`fill`, where it is set, adds the arguments; it is called once, before the first parse."""

    fill: Callable[[argparse.ArgumentParser], None] | None = None

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does, with the arguments added first."""
        fill, self.fill = self.fill, None
        if fill is not None:
            fill(self)
        return super().parse_known_args(args, namespace)


def add_command(subcommands: Any, name: str, words: str, fill: Callable[[argparse.ArgumentParser], None]) -> None:
    """Add a subcommand; words: what it makes, for the list of commands and the subcommand's own help."""
    command = subcommands.add_parser(name, help=words, description=words)
    command.fill = fill
