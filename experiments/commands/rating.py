"""phase5 select, serve, ingest, percepiano: expert ears."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from experiments.commands.arguments import add_out, add_store, names, positive, whole


def register(subcommands: Any) -> None:
    """Add this group's subcommands."""
    phase5 = subcommands.add_parser("phase5", help="expert ears: select segments, serve the page, read ratings")
    steps = phase5.add_subparsers(title="steps", required=True, metavar="STEP")
    _register_select(steps)
    _register_serve(steps)
    _register_ingest(steps)
    _register_percepiano(steps)


def _register_select(steps: Any) -> None:
    select = steps.add_parser("select", help="draw the segments that experts should hear, and write a rating set")
    add_store(select)
    add_out(select, "folder of the rating set")
    select.add_argument("--after", metavar="RUN", type=Path, help="the Phase 4 run that said GO")
    select.add_argument("--override", metavar="REASON", help="go on although no run said GO; kept in every report")
    select.add_argument("--n", type=positive, default=250, help="segments to rate (250)")
    select.add_argument("--raters", type=names, help="their names, such as anna,ben (four, numbered)")
    select.add_argument("--repeats", type=whole, default=20, help="segments that a rater hears twice (20)")
    select.add_argument("--anchors", type=whole, default=4, help="anchors at the start (4)")
    select.add_argument("--seed", type=int, default=0)
    select.set_defaults(run=_select)


def _select(options: argparse.Namespace) -> None:
    from rich.console import Console

    from experiments.phase5.selection import SelectConfig, select

    more = {} if options.raters is None else {"raters": options.raters}
    config = SelectConfig(
        store=options.store,
        out=options.out,
        after=options.after,
        n=options.n,
        repeats=options.repeats,
        anchors=options.anchors,
        seed=options.seed,
        override=options.override,
        **more,
    )
    select(config, Console(soft_wrap=True))


def _register_serve(steps: Any) -> None:
    serve = steps.add_parser("serve", help="the rating page, on this machine alone unless told otherwise")
    serve.add_argument("folder", metavar="DIR", type=Path, help="what `phase5 select` wrote")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    serve.add_argument("--port", type=positive, default=8321)
    serve.add_argument("--public-url", help="how raters reach this machine, for their links")
    serve.add_argument("--static", action="store_true", help="write offline folders for raters instead of serving")
    serve.set_defaults(run=_serve)


def _serve(options: argparse.Namespace) -> None:
    from rich.console import Console

    from experiments.rating_app.serving import ServeConfig, serve

    config = ServeConfig(options.folder, options.host, options.port, options.public_url, options.static)
    serve(config, Console(soft_wrap=True))


def _register_ingest(steps: Any) -> None:
    ingest = steps.add_parser("ingest", help="what the ratings say: agreement, noise ceiling, gate, advice")
    ingest.add_argument("folder", metavar="DIR", type=Path, help="the rating set")
    ingest.add_argument("--replicates", type=positive, default=2000, help="of the bootstrap (2000)")
    ingest.add_argument("--seed", type=int, default=0)
    ingest.set_defaults(run=_ingest)


def _ingest(options: argparse.Namespace) -> None:
    from rich.console import Console

    from experiments.phase5.ingest import IngestConfig, ingest

    ingest(IngestConfig(options.folder, options.replicates, options.seed), Console(soft_wrap=True))


def _register_percepiano(steps: Any) -> None:
    percepiano = steps.add_parser("percepiano", help="what PercePiano's human ratings say of features and heads")
    percepiano.add_argument("folder", metavar="DIR", type=Path, help="PercePiano as published: labels/ and midi/")
    add_out(percepiano)
    percepiano.add_argument("--store", type=Path, help="extract features with this store's recipe")
    percepiano.add_argument("--after", metavar="RUN", type=Path, help="a run on that store, for the zero-shot question")
    percepiano.add_argument("--encoders", type=names, default=("logmel", "expressive"), help="(logmel,expressive)")
    percepiano.add_argument("--weights", help="for mert and midibert: a checkpoint, or random")
    percepiano.add_argument("--head", default="gated", help="head of the run to ask (gated)")
    percepiano.add_argument("--replicates", type=positive, default=1000, help="of the bootstrap (1000)")
    percepiano.add_argument("--seed", type=int, default=0)
    percepiano.set_defaults(run=_percepiano)


def _percepiano(options: argparse.Namespace) -> None:
    from rich.console import Console

    from experiments.percepiano.run import PercepianoConfig, percepiano

    config = PercepianoConfig(
        folder=options.folder,
        out=options.out,
        store=options.store,
        after=options.after,
        encoders=options.encoders,
        weights=options.weights,
        head=options.head,
        replicates=options.replicates,
        seed=options.seed,
    )
    percepiano(config, Console(soft_wrap=True))
