"""The command line `keybed`: build a frozen configuration from the arguments, run one command, print errors in one line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from keybed.experiments.cli import demo, extraction, phases, slurm, stores
from keybed.experiments.cli import listening as rating
from keybed.experiments.cli.command_parser import CommandParser
from keybed.experiments.cli.extras import what_to_install
from keybed.store.errors import KeybedError


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line; every subcommand sets `run`, a function of the parsed arguments."""
    top = CommandParser(
        prog="keybed",
        description="Embed once, judge many times: frozen audio and MIDI features of degraded piano performances.",
    )
    subcommands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for group in (extraction, stores, phases, rating, slurm, demo):
        group.register(subcommands)
    return top


def _explained() -> tuple[type[Exception], ...]:
    # Only a command that trains has loaded `heads`, whose errors share no base class with the store's.
    trained = sys.modules.get("keybed.heads.errors")
    return (KeybedError,) if trained is None else (KeybedError, trained.HeadsError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 1 an error that is explained in one line, 2 wrong usage, 130 or 143 stopped by a signal."""
    options = parser().parse_args(arguments)
    try:
        status: int | None = options.run(options)
    except _explained() as error:
        print(f"keybed: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        if (advice := what_to_install(error)) is None:
            raise
        print(f"keybed: {advice}", file=sys.stderr)
        return 1
    except OSError as error:
        if error.filename is None:
            raise
        print(f"keybed: {error.filename}: {error.strerror}; check the path and its permissions", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("keybed: stopped; run the same command again to go on", file=sys.stderr)
        return 130
    return status or 0


if __name__ == "__main__":
    sys.exit(main())
