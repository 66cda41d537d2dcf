"""`keybed phase2`, `phase3`, `phase4`, `compare`, `window-check`, `curve`, `report`: experiments on a filled store."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from keybed.experiments.cli.command_parser import add_command
from keybed.experiments.cli.console import terminal
from keybed.experiments.cli.flags import add_options, config_from
from keybed.experiments.cli.output import Document, add_json


def register(subcommands: Any) -> None:
    """Add this group's subcommands."""
    commands = {
        "phase2": (
            "train heads on one modality and on both, report the gain of fusion, and write the gate",
            _phase2,
            "phase2 STORE --out RUN/phase2",
        ),
        "phase3": (
            "align audio and MIDI with InfoNCE, report the gain of fusion, and write the gate",
            _phase3,
            "phase3 STORE --after RUN/phase2 --out RUN/phase3",
        ),
        "phase4": (
            "train the best fusion in full on raw and aligned features, report it, and write the gate",
            _phase4,
            "phase4 STORE --after RUN/phase3 --out RUN/phase4",
        ),
        "compare": (
            "compare runs on one store side by side: paired differences with intervals",
            _compare,
            "compare RUN/phase2 RUN/phase4 --out RUN/comparison",
        ),
        "window-check": (
            "report what longer windows gain, from stores of 5, 10 and 20 s windows of one corpus",
            _window_check,
            "window-check STORE_5 STORE_10 STORE_20 --out RUN/windows",
        ),
        "curve": (
            "report r against the amount of training data, and how many segments or ratings the next experiment needs",
            _curve,
            "curve STORE --out RUN/curve",
        ),
    }
    for name, (words, run, example) in commands.items():
        add_command(subcommands, name, words, _filler(name, run), example=example, prints=name == "compare")
    add_command(
        subcommands,
        "report",
        "write a run's report again from its results",
        _fill_report,
        example="report RUN/phase2 --pdf",
    )


def _filler(
    name: str, run: Callable[[argparse.Namespace], Document | None]
) -> Callable[[argparse.ArgumentParser], None]:
    def fill(parser: argparse.ArgumentParser) -> None:
        from keybed.experiments.curve.config import CurveConfig
        from keybed.experiments.phases import config

        configs: dict[str, type[Any]] = {
            "phase2": config.Phase2Config,
            "phase3": config.Phase3Config,
            "phase4": config.Phase4Config,
            "compare": config.CompareConfig,
            "window-check": config.WindowCheckConfig,
            "curve": CurveConfig,
        }
        add_options(parser, configs[name])
        if name == "compare":
            add_json(parser)
        parser.set_defaults(run=run)

    return fill


def _phase2(options: argparse.Namespace) -> None:
    from keybed.experiments.phases.config import Phase2Config
    from keybed.experiments.phases.phase2 import run_phase2

    config = config_from(Phase2Config, options)
    began = time.monotonic()
    run_phase2(config, terminal())
    _end(config.out, config.store, began)


def _phase3(options: argparse.Namespace) -> None:
    from keybed.experiments.phases.config import Phase3Config
    from keybed.experiments.phases.phase3 import run_phase3

    config = config_from(Phase3Config, options)
    began = time.monotonic()
    run_phase3(config, terminal())
    _end(config.out, config.store, began)


def _phase4(options: argparse.Namespace) -> None:
    from keybed.experiments.phases.config import Phase4Config
    from keybed.experiments.phases.phase4 import run_phase4

    config = config_from(Phase4Config, options)
    began = time.monotonic()
    run_phase4(config, terminal())
    _end(config.out, config.store, began)


def _end(run: Path, store: Path, began: float) -> None:
    """Print how long a phase took and what to run next; no phase follows a run on ratings."""
    from keybed.experiments.data.run_folder import read_json
    from keybed.experiments.evaluation.gates import read_gate
    from keybed.experiments.reports.next_step import next_step

    if isinstance(read_json(run / "results.json")["phase"], int):
        print(f"took {time.monotonic() - began:,.0f} s; next: {next_step(read_gate(run), run, store)}")


def _compare(options: argparse.Namespace) -> Document | None:
    from keybed.experiments.phases.compare import run_compare
    from keybed.experiments.phases.config import CompareConfig

    comparison = run_compare(config_from(CompareConfig, options), terminal())
    if options.json:
        from keybed.experiments.data.json_codec import plain

        return Document(plain(comparison))
    return None


def _window_check(options: argparse.Namespace) -> None:
    from keybed.experiments.phases.config import WindowCheckConfig
    from keybed.experiments.phases.window_check import run_window_check

    run_window_check(config_from(WindowCheckConfig, options), terminal())


def _curve(options: argparse.Namespace) -> None:
    from keybed.experiments.curve.config import CurveConfig
    from keybed.experiments.curve.run import run_curve

    run_curve(config_from(CurveConfig, options), terminal())


def _fill_report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_folder", metavar="RUN", type=Path, help="folder of a finished run")
    parser.add_argument(
        "--store",
        metavar="STORE",
        type=Path,
        help="the run's store, to make the sound of its examples again; without it the one that the run names, where sound is missing",
    )
    parser.add_argument(
        "--pdf", action="store_true", help="write RUN/report.pdf as well, printed by an installed Chromium or Chrome"
    )
    parser.set_defaults(run=_report)


def _report(options: argparse.Namespace) -> None:
    from keybed.experiments.cli.render_any import render_any

    store = None
    if options.store is not None:
        from keybed.store.read.opening import open_store

        store = open_store(options.store)
    page = render_any(options.run_folder, store)
    print(f"report: {page}")
    if options.pdf:
        from keybed.experiments.reports.pdf import print_pdf

        print(f"PDF: {print_pdf(page)}")
