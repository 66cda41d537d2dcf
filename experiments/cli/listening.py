"""`keybed phase5 select`, `serve`, `ingest`, `percepiano`: expert ratings of our clips, and PercePiano's ratings."""

from __future__ import annotations

import argparse
from typing import Any

from keybed.experiments.cli.command_parser import add_command
from keybed.experiments.cli.console import terminal
from keybed.experiments.cli.flags import add_options, config_from


def register(subcommands: Any) -> None:
    """Add this group's subcommands."""
    words = "collect ratings of clips by experts, and compare the labels with them"
    phase5 = subcommands.add_parser("phase5", help=words, description=words, example="phase5 select STORE --out RATING")
    steps = phase5.add_subparsers(required=True, metavar="STEP")
    add_command(
        steps,
        "select",
        "draw and render clips, and make the rating set with each rater's blinded order",
        _fill_select,
        example="phase5 select STORE --out RATING",
    )
    add_command(
        steps,
        "serve",
        "serve the rating page from this machine, or write it as one folder per rater",
        _fill_serve,
        example="phase5 serve RATING",
        prints=True,
    )
    add_command(
        steps,
        "ingest",
        "report rater agreement and label–expert correlations, and write the gate",
        _fill_ingest,
        example="phase5 ingest RATING",
    )
    add_command(
        steps,
        "percepiano",
        "report how well heads and models predict the human ratings of PercePiano",
        _fill_percepiano,
        example="phase5 percepiano PERCEPIANO_DIR --out RUN",
    )


def _fill_select(parser: argparse.ArgumentParser) -> None:
    from keybed.experiments.listening.config import SelectConfig

    add_options(parser, SelectConfig)
    parser.set_defaults(run=_select)


def _select(options: argparse.Namespace) -> int:
    from keybed.experiments.listening.config import SelectConfig
    from keybed.experiments.listening.selection import select

    select(config_from(SelectConfig, options), terminal())
    return 0


def _fill_serve(parser: argparse.ArgumentParser) -> None:
    from keybed.experiments.listening.config import ServeConfig

    add_options(parser, ServeConfig)
    parser.set_defaults(run=_serve)


def _serve(options: argparse.Namespace) -> int:
    from keybed.experiments.listening.app.serving import serve
    from keybed.experiments.listening.config import ServeConfig

    serve(config_from(ServeConfig, options), terminal())
    return 0


def _fill_ingest(parser: argparse.ArgumentParser) -> None:
    from keybed.experiments.listening.config import IngestConfig

    add_options(parser, IngestConfig)
    parser.set_defaults(run=_ingest)


def _ingest(options: argparse.Namespace) -> int:
    from keybed.experiments.listening.config import IngestConfig
    from keybed.experiments.listening.ingest import ingest

    ingest(config_from(IngestConfig, options), terminal())
    return 0


def _fill_percepiano(parser: argparse.ArgumentParser) -> None:
    from keybed.experiments.percepiano.config import HeadPlan, PercepianoConfig

    add_options(parser, PercepianoConfig)
    add_options(parser, HeadPlan)
    parser.add_argument("--no-encoders", action="store_true", help="render nothing; use statistics of the notes alone")
    parser.add_argument("--no-heads", action="store_true", help="fit no heads: minutes instead of tens of minutes")
    parser.set_defaults(run=_percepiano)


def _percepiano(options: argparse.Namespace) -> int:
    from keybed.experiments.percepiano.config import HeadPlan, PercepianoConfig
    from keybed.experiments.percepiano.run import percepiano

    composed: dict[str, Any] = {"heads": None if options.no_heads else config_from(HeadPlan, options)}
    if options.no_encoders:
        composed["encoders"] = ()
    percepiano(config_from(PercepianoConfig, options, composed), terminal())
    return 0
