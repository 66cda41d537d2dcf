"""demo: the whole path on a corpus that needs no download."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from keybed.experiments.cli.arguments import positive


def register(subcommands: Any) -> None:
    """Add this group's subcommand."""
    demo = subcommands.add_parser("demo", help="from a composed corpus to a Phase 2 report, in minutes, no download")
    demo.add_argument("--out", type=Path, default=Path("demo-run"), help="folder of all that the demo makes (demo-run)")
    demo.add_argument(
        "--maestro", metavar="DIR", type=Path, help="a real MAESTRO folder instead of the composed corpus"
    )
    demo.add_argument("--rows", type=positive, default=192, help="rows of the store, four a segment (192)")
    demo.add_argument("--seed", type=int, default=0)
    demo.set_defaults(run=_demo)


def _demo(options: argparse.Namespace) -> int:
    from rich.console import Console

    from keybed.experiments.phases.config import DemoConfig
    from keybed.experiments.phases.demo import run_demo

    config = DemoConfig(out=options.out, maestro=options.maestro, rows=options.rows, seed=options.seed)
    return run_demo(config, Console(soft_wrap=True))
