"""phase2, phase3, phase4, compare, window-check, report: the questions asked of a filled store."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from keybed.experiments.cli.arguments import add_out, add_store, positive


def register(subcommands: Any) -> None:
    """Add this group's subcommands."""
    phase2 = subcommands.add_parser(
        "phase2", help="does fusion beat either modality? quality or difficulty? GO or NO-GO"
    )
    add_store(phase2)
    add_out(phase2)
    phase2.add_argument("--audio", help="audio encoder (default: one with trained weights, else logmel)")
    phase2.add_argument("--midi", help="MIDI encoder (default: one with trained weights, else expressive)")
    phase2.add_argument("--view", default="frames", help="frames, layers, or a derived view such as pca128 or pooled")
    phase2.add_argument("--epochs", type=positive, default=5)
    phase2.add_argument("--seeds", type=positive, default=5)
    phase2.add_argument("--hidden", type=positive, default=64, help="width of the heads (64)")
    phase2.add_argument("--batch-rows", type=positive, help="rows of a training batch (default: by the store's size)")
    phase2.add_argument("--learning-rate", type=float, default=3e-3)
    phase2.add_argument("--folds", type=positive, default=5, help="folds over all pieces where test pieces are few (5)")
    _memory(phase2)
    phase2.set_defaults(run=_phase2)

    phase3 = subcommands.add_parser("phase3", help="align audio and MIDI with InfoNCE; does fusion gain more?")
    _after(phase3, "the Phase 2 run that said GO")
    phase3.add_argument("--epochs", type=positive, default=15)
    phase3.add_argument("--batch-rows", type=positive, help="rows of a contrastive batch (128; 64 for small stores)")
    phase3.add_argument("--width", type=positive, default=128, help="width of the shared space (128)")
    _memory(phase3)
    phase3.set_defaults(run=_phase3)

    phase4 = subcommands.add_parser("phase4", help="train the best fusion in full, on raw and aligned features")
    _after(phase4, "the Phase 3 run that said GO")
    phase4.add_argument("--epochs", type=positive, default=20)
    phase4.add_argument("--seeds", type=positive, default=5)
    phase4.add_argument("--no-ablations", action="store_true", help="leave the ablations out")
    _memory(phase4)
    phase4.set_defaults(run=_phase4)

    compare = subcommands.add_parser("compare", help="runs on one store side by side, paired, with intervals")
    compare.add_argument("runs", metavar="RUN", type=Path, nargs="+")
    compare.add_argument("--out", type=Path, help="a JSON file to write as well")
    compare.set_defaults(run=_compare)

    windows = subcommands.add_parser("window-check", help="is context the bottleneck? stores of 5, 10 and 20 s windows")
    windows.add_argument("stores", metavar="STORE", type=Path, nargs="+")
    add_out(windows)
    windows.add_argument("--audio", help="audio encoder")
    windows.add_argument("--midi", help="MIDI encoder")
    windows.add_argument("--epochs", type=positive, default=5)
    windows.add_argument("--seeds", type=positive, default=3)
    windows.set_defaults(run=_windows)

    report = subcommands.add_parser("report", help="draw a run's report again from its results")
    report.add_argument("run_folder", metavar="RUN", type=Path)
    report.set_defaults(run=_report)


def _memory(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--memory-gib", type=float, default=4.0, help="features above this size stay on disk, slower (4 GiB)"
    )


def _after(parser: argparse.ArgumentParser, what: str) -> None:
    add_store(parser)
    parser.add_argument("--after", metavar="RUN", type=Path, required=True, help=what)
    add_out(parser)
    parser.add_argument(
        "--override", metavar="REASON", help="go on although that run said no; kept in every later report"
    )


def _phase3(options: argparse.Namespace) -> None:
    from rich.console import Console

    from keybed.experiments.phases.config import Phase3Config
    from keybed.experiments.phases.phase3 import run_phase3

    config = Phase3Config(
        store=options.store,
        after=options.after,
        out=options.out,
        override=options.override,
        epochs=options.epochs,
        batch_rows=options.batch_rows,
        width=options.width,
        memory_gib=options.memory_gib,
    )
    run_phase3(config, Console(soft_wrap=True))


def _phase4(options: argparse.Namespace) -> None:
    from rich.console import Console

    from keybed.experiments.phases.config import Phase4Config
    from keybed.experiments.phases.phase4 import run_phase4

    config = Phase4Config(
        store=options.store,
        after=options.after,
        out=options.out,
        override=options.override,
        epochs=options.epochs,
        seeds=options.seeds,
        ablations=not options.no_ablations,
        memory_gib=options.memory_gib,
    )
    run_phase4(config, Console(soft_wrap=True))


def _compare(options: argparse.Namespace) -> None:
    from rich.console import Console

    from keybed.experiments.phases.compare import run_compare
    from keybed.experiments.phases.config import CompareConfig

    run_compare(CompareConfig(tuple(options.runs), options.out), Console(soft_wrap=True))


def _windows(options: argparse.Namespace) -> None:
    from rich.console import Console

    from keybed.experiments.phases.config import WindowCheckConfig
    from keybed.experiments.phases.window_check import run_window_check

    config = WindowCheckConfig(
        stores=tuple(options.stores),
        out=options.out,
        audio=options.audio,
        midi=options.midi,
        epochs=options.epochs,
        seeds=options.seeds,
    )
    run_window_check(config, Console(soft_wrap=True))


def _phase2(options: argparse.Namespace) -> None:
    from rich.console import Console

    from keybed.experiments.phases.config import Phase2Config
    from keybed.experiments.phases.phase2 import run_phase2

    config = Phase2Config(
        store=options.store,
        out=options.out,
        audio=options.audio,
        midi=options.midi,
        view=options.view,
        epochs=options.epochs,
        seeds=options.seeds,
        hidden=options.hidden,
        batch_rows=options.batch_rows,
        learning_rate=options.learning_rate,
        folds=options.folds,
        memory_gib=options.memory_gib,
    )
    run_phase2(config, Console(soft_wrap=True))


def _report(options: argparse.Namespace) -> None:
    from keybed.experiments.reports.report import render

    print(f"report: {render(options.run_folder)}")
