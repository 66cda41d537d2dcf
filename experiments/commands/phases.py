"""phase2, phase3, phase4, compare, report: the questions asked of a filled store."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from experiments.commands.arguments import add_out, add_store, positive


def register(subcommands: Any) -> None:
    """Add this group's subcommands."""
    phase2 = subcommands.add_parser(
        "phase2", help="does fusion beat either modality? quality or difficulty? GO or NO-GO"
    )
    add_store(phase2)
    add_out(phase2)
    phase2.add_argument("--audio", help="audio encoder (default: one with trained weights, else logmel)")
    phase2.add_argument("--midi", help="MIDI encoder (default: one with trained weights, else expressive)")
    phase2.add_argument("--view", default="frames", help="frames, or a derived view such as pca128")
    phase2.add_argument("--epochs", type=positive, default=5)
    phase2.add_argument("--seeds", type=positive, default=5)
    phase2.add_argument("--hidden", type=positive, default=64, help="width of the heads (64)")
    phase2.add_argument("--batch-rows", type=positive, help="rows of a training batch (default: by the store's size)")
    phase2.add_argument("--learning-rate", type=float, default=1e-3)
    phase2.add_argument("--folds", type=positive, default=5, help="folds over all pieces where test pieces are few (5)")
    phase2.set_defaults(run=_phase2)

    report = subcommands.add_parser("report", help="draw a run's report again from its results")
    report.add_argument("run_folder", metavar="RUN", type=Path)
    report.set_defaults(run=_report)


def _phase2(options: argparse.Namespace) -> None:
    from rich.console import Console

    from experiments.phase2 import Phase2Config, run_phase2

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
    )
    run_phase2(config, Console(soft_wrap=True))


def _report(options: argparse.Namespace) -> None:
    from experiments.report import render

    print(f"report: {render(options.run_folder)}")
