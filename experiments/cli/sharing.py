"""`keybed publish`: put a store where others can read it."""

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
        "publish",
        "upload a whole, verified store to a dataset repository on Hugging Face",
        _fill,
        example="publish STORE hf://datasets/OWNER/NAME --confirm-licences",
    )


def _fill(parser: argparse.ArgumentParser) -> None:
    from keybed.store.publish.publish import PublishConfig

    add_options(parser, PublishConfig)
    parser.set_defaults(run=_publish)


def _publish(options: argparse.Namespace) -> int:
    import time

    from keybed.store.publish.publish import PublishConfig, publish

    began = time.monotonic()
    console = terminal()
    url = publish(config_from(PublishConfig, options), lambda line: console.print(line, highlight=False, markup=False))
    console.print(
        f'published in {time.monotonic() - began:.0f} s. Others read it with keybed.open("{url}")',
        highlight=False,
        markup=False,
    )
    return 0
