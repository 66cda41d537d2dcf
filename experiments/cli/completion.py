"""`keybed completion`: the script with which a shell completes Keybed's commands and options."""

from __future__ import annotations

import argparse
from typing import Any

from keybed.experiments.cli.command_parser import CommandParser, add_command
from keybed.experiments.cli.completion_scripts import SCRIPTS
from keybed.experiments.cli.completion_words import command_words

_WORDS = (
    "print the script with which a shell completes commands and options, for example: source <(keybed completion bash)"
)


def register(subcommands: Any, top: CommandParser) -> None:
    """Add this group's subcommand. top: the parser whose commands are completed."""

    def fill(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("shell", choices=tuple(SCRIPTS), help="the shell")
        parser.set_defaults(run=run)

    def run(options: argparse.Namespace) -> None:
        print(SCRIPTS[options.shell](command_words(top)), end="")

    add_command(subcommands, "completion", _WORDS, fill, example="completion bash", prints=True)
