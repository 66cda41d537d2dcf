"""phase5 select, serve, ingest, percepiano: expert ears, and the human ratings there are already."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from keybed.experiments.cli.arguments import add_store, names, positive


def register(subcommands: Any) -> None:
    """Add this group's subcommands."""
    phase5 = subcommands.add_parser("phase5", help="have clips rated by experts, and learn what the labels are worth")
    steps = phase5.add_subparsers(required=True, metavar="STEP")
    _register_select(steps)
    _register_serve(steps)
    _register_ingest(steps)
    _register_percepiano(steps)


def _register_select(steps: Any) -> None:
    select = steps.add_parser("select", help="draw and render the clips worth paying for, in blinded orders")
    add_store(select)
    select.add_argument("--after", metavar="RUN4", type=Path, help="the Phase 4 run whose GO allows this")
    select.add_argument("--out", metavar="DIR", type=Path, required=True, help="folder of the rating set")
    select.add_argument("--n", type=positive, default=250, help="clips to be rated (250)")
    select.add_argument("--raters", type=names, help="their names (default: rater 1 to rater 4)")
    select.add_argument("--repeats", type=int, default=20, help="clips that each rater hears twice (20)")
    select.add_argument("--anchors", type=positive, default=4, help="practice clips at the start (4)")
    select.add_argument("--seed", type=int, default=0)
    select.add_argument("--override", metavar="REASON", help="go on without Phase 4's GO; every report will say why")
    select.set_defaults(run=_select)


def _select(options: argparse.Namespace) -> int:
    from rich.console import Console

    from keybed.experiments.listening.selection import SelectConfig, select

    chosen = {"raters": options.raters} if options.raters else {}
    config = SelectConfig(
        store=options.store,
        out=options.out,
        after=options.after,
        n=options.n,
        repeats=options.repeats,
        anchors=options.anchors,
        seed=options.seed,
        override=options.override,
        **chosen,
    )
    select(config, Console())
    return 0


def _register_serve(steps: Any) -> None:
    serve = steps.add_parser("serve", help="serve the rating page on this machine, or write it as folders")
    serve.add_argument("folder", metavar="DIR", type=Path, help="what `phase5 select` wrote")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (this machine alone)")
    serve.add_argument("--port", type=positive, default=8321)
    serve.add_argument("--public-url", metavar="URL", help="how raters reach the machine, for their links")
    serve.add_argument("--static", action="store_true", help="write DIR/static for raters without a connection")
    serve.set_defaults(run=_serve)


def _serve(options: argparse.Namespace) -> int:
    from rich.console import Console

    from keybed.experiments.listening.app.serving import ServeConfig, serve

    serve(ServeConfig(options.folder, options.host, options.port, options.public_url, options.static), Console())
    return 0


def _register_ingest(steps: Any) -> None:
    ingest = steps.add_parser("ingest", help="agreement of raters, their ceiling, labels against experts, the gate")
    ingest.add_argument("folder", metavar="DIR", type=Path, help="the rating set")
    ingest.add_argument("--replicates", type=positive, default=2000, help="resamples of an interval (2000)")
    ingest.set_defaults(run=_ingest)


def _ingest(options: argparse.Namespace) -> int:
    from rich.console import Console

    from keybed.experiments.listening.ingest import IngestConfig, ingest

    ingest(IngestConfig(options.folder, options.replicates), Console())
    return 0


def _register_percepiano(steps: Any) -> None:
    percepiano = steps.add_parser("percepiano", help="the human ratings of PercePiano: zero-shot, trained, ceiling")
    percepiano.add_argument("folder", metavar="DIR", type=Path, help="PercePiano's labels/ and midi/")
    percepiano.add_argument("--out", metavar="RUN", type=Path, required=True, help="folder of the run")
    percepiano.add_argument("--store", type=Path, help="take encoders and soundfont from this store's recipe")
    percepiano.add_argument("--after", metavar="RUN", type=Path, help="zero-shot: a Phase 2 run on that store")
    percepiano.add_argument("--encoders", type=names, help="beside the store's; without one logmel,expressive")
    percepiano.add_argument("--no-encoders", action="store_true", help="render nothing: statistics of the notes alone")
    percepiano.add_argument(
        "--weights", help='of mert and midibert named in --encoders; "random" is marked in the report'
    )
    percepiano.add_argument("--heads", type=names, help="kinds fitted to the ratings (audio,midi,gated)")
    percepiano.add_argument("--no-heads", action="store_true", help="fit no heads: minutes instead of tens of them")
    percepiano.add_argument("--epochs", type=positive, help="of these heads (10)")
    percepiano.add_argument("--seeds", type=positive, help="of each head (3)")
    percepiano.add_argument("--replicates", type=positive, default=1000, help="resamples of an interval (1000)")
    percepiano.add_argument("--seed", type=int, default=0)
    percepiano.set_defaults(run=_percepiano)


def _percepiano(options: argparse.Namespace) -> int:
    from rich.console import Console

    from keybed.experiments.percepiano.heads_on_ratings import HeadPlan
    from keybed.experiments.percepiano.run import PercepianoConfig, percepiano

    asked = {"kinds": options.heads, "epochs": options.epochs, "seeds": options.seeds}
    config = PercepianoConfig(
        folder=options.folder,
        out=options.out,
        store=options.store,
        after=options.after,
        encoders=() if options.no_encoders else options.encoders,
        weights=options.weights,
        heads=None if options.no_heads else HeadPlan(**{k: v for k, v in asked.items() if v is not None}),
        replicates=options.replicates,
        seed=options.seed,
    )
    percepiano(config, Console())
    return 0
