"""`keybed listen`: hear what degradation does."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from keybed.experiments.cli.command_parser import add_command
from keybed.experiments.cli.flags import add_options, config_from


def register(subcommands: Any) -> None:
    """Add this group's subcommand."""
    add_command(
        subcommands,
        "listen",
        "write a page on which each axis of degradation can be heard and seen, with a blind test",
        _fill_listen,
        example="listen STORE --out hear --axis timing,pedal",
    )


def _fill_listen(parser: argparse.ArgumentParser) -> None:
    from keybed.experiments.hearing.config import ListenConfig

    add_options(parser, ListenConfig)
    parser.add_argument(
        "--maestro", type=Path, help="the recordings on this machine, where the store's audio is recorded"
    )
    parser.add_argument("--soundfont", type=Path, help="the planned soundfont on this machine, if it has moved")
    parser.add_argument("--note-bank", type=Path, help="the planned note bank on this machine, likewise")
    parser.set_defaults(run=_listen)


def _listen(options: argparse.Namespace) -> None:
    from keybed.experiments.hearing.config import ListenConfig
    from keybed.experiments.hearing.listen import listen
    from keybed.extract.progress import progress_bar

    paths = {"maestro": options.maestro, "soundfont": options.soundfont, "note-bank": options.note_bank}
    given = {name: str(path) for name, path in paths.items() if path is not None}
    with progress_bar() as progress:
        report = listen(config_from(ListenConfig, options, {"paths": given}), progress)
    print("\n".join(report.lines()))
