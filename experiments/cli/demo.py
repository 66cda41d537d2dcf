"""`keybed demo`: the whole path on a corpus that needs no download."""

from __future__ import annotations

import argparse
from typing import Any

from keybed.experiments.cli.command_parser import add_command
from keybed.experiments.cli.console import terminal
from keybed.experiments.cli.flags import add_options, config_from


def register(subcommands: Any) -> None:
    """Add this group's subcommand."""
    add_command(
        subcommands,
        "demo",
        "make a small corpus, a store and a Phase 2 report in minutes, without a download",
        _fill,
        example="demo --rows 64 --out my-demo",
    )


def _fill(parser: argparse.ArgumentParser) -> None:
    from keybed.experiments.phases.config import DemoConfig

    add_options(parser, DemoConfig)
    parser.set_defaults(run=_demo)


def _demo(options: argparse.Namespace) -> int:
    from keybed.experiments.phases.config import DemoConfig
    from keybed.experiments.phases.demo import run_demo

    return run_demo(config_from(DemoConfig, options), terminal())
