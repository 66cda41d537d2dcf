"""plan, extract, sensitivity, export: from a MAESTRO folder to a filled store, and out again."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from keybed.experiments.cli.arguments import (
    add_out,
    add_places,
    add_store,
    given_places,
    names,
    numbers,
    positive,
    rate,
    whole,
)

BASELINES = ("logmel", "expressive")
"""Planned by default: they need no weights, so that a first store can be made anywhere."""
STOPPED = 143
"""Exit status of an extraction that a signal stopped between two rows, as if SIGTERM had ended it."""


def register(subcommands: Any) -> None:
    """Add this group's subcommands."""
    _register_plan(subcommands)
    _register_extract(subcommands)
    _register_sensitivity(subcommands)
    _register_export(subcommands)


def _register_plan(subcommands: Any) -> None:
    plan = subcommands.add_parser("plan", help="read a MAESTRO folder, decide every row, make the empty store")
    plan.add_argument("maestro", metavar="MAESTRO_DIR", type=Path, help="a folder in MAESTRO v3's layout, or its CSV")
    plan.add_argument("store", metavar="STORE", type=Path, help="the store to make")
    plan.add_argument("--limit", type=positive, help="at most so many segments, spread over splits and pieces")
    plan.add_argument(
        "--encoders",
        type=names,
        default=BASELINES,
        help="of mert, midibert, logmel, expressive (default: the two baselines, which need no weights)",
    )
    plan.add_argument(
        "--weights", choices=("random",), help="seeded random weights for every encoder that has no weights named"
    )
    plan.add_argument("--mert-weights", metavar="ID|DIR", help="Hugging Face id or local folder (m-a-p/MERT-v1-95M)")
    plan.add_argument("--mert-revision", help="commit of the Hugging Face repository")
    plan.add_argument("--midibert-weights", metavar="FILE", help="the authors' checkpoint, pre-trained or fine-tuned")
    plan.add_argument(
        "--dtype",
        choices=("float32", "bfloat16"),
        default="float32",
        help="arithmetic of mert and midibert; bfloat16 is about twice as fast where the processor has it",
    )
    plan.add_argument("--profile", choices=("mixed", "tiered"), default="mixed", help="how scores are drawn (mixed)")
    plan.add_argument("--audio", choices=("rendered", "recorded"), default="rendered", help="where audio comes from")
    plan.add_argument(
        "--soundfont", type=Path, help="an .sf2 or .sf3 file (default: the one that ships with pretty_midi)"
    )
    plan.add_argument("--window", type=float, default=10.0, metavar="S", help="length of a segment in seconds (10)")
    plan.add_argument("--hop", type=float, default=6.2, metavar="S", help="from one segment's start to the next (6.2)")
    plan.add_argument("--bins", type=positive, default=20, help="cells of the common time grid (20)")
    plan.add_argument("--seed", type=int, default=0)
    plan.add_argument("--shard-rows", type=positive, help="rows of a shard (default: 32 to 1024, at least 8 shards)")
    plan.add_argument("--threads", type=positive, default=2, help="an encoder's CPU threads, part of the recipe (2)")
    plan.add_argument("--jobs", type=positive, help="processes that read MIDI (default: one a core)")
    plan.add_argument(
        "--task-hours", type=float, default=2.0, help="how long a task may take, for the proposed number (2)"
    )
    plan.add_argument("--cores-per-task", type=positive, default=8, help="cores of a task, for the estimate (8)")
    plan.add_argument(
        "--rate",
        type=rate,
        action="append",
        default=[],
        metavar="NAME=ROWS",
        help="rows a second that you measured, for the estimate: render=14, mert=0.4 (a core), gpu:mert=900 (a GPU)",
    )
    plan.add_argument("--no-room-check", action="store_true", help="plan even where the disk looks too small")
    plan.add_argument("--dry-run", action="store_true", help="count and estimate, write nothing")
    plan.add_argument("--metadata-only", action="store_true", help="with --dry-run: from the CSV alone, without files")
    plan.set_defaults(run=_plan)


def _plan(options: argparse.Namespace) -> int:
    from rich.console import Console

    from keybed.extract.planning.estimate import MEASURED_RATES
    from keybed.extract.planning.plan import PlanConfig, dry_run, plan
    from keybed.extract.progress import progress_bar

    weights = {"mert": options.mert_weights, "midibert": options.midibert_weights}
    if options.weights:
        weights = {name: given or options.weights for name, given in weights.items()}
    config = PlanConfig(
        maestro=options.maestro,
        store=options.store,
        limit=options.limit,
        encoders=options.encoders,
        weights={name: given for name, given in weights.items() if given},
        revisions={"mert": options.mert_revision} if options.mert_revision else {},
        compute_dtype=options.dtype,
        profile=options.profile,
        seed=options.seed,
        audio=options.audio,
        soundfont=options.soundfont,
        window_s=options.window,
        hop_s=options.hop,
        n_bins=options.bins,
        shard_rows=options.shard_rows,
        threads=options.threads,
        jobs=options.jobs,
        metadata_only=options.metadata_only,
        check_disk_space=not options.no_room_check,
        cores_per_task=options.cores_per_task,
        task_hours=options.task_hours,
        rates=MEASURED_RATES.with_measured(dict(options.rate)),
    )
    with progress_bar() as progress:
        report = dry_run(config, progress) if options.dry_run else plan(config, progress)
    console = Console(soft_wrap=True, highlight=False, markup=False)
    for line in report.lines():
        console.print(line)
    return 0


def _register_extract(subcommands: Any) -> None:
    extract = subcommands.add_parser("extract", help="fill shards: degrade, render, encode, commit")
    add_store(extract)
    extract.add_argument("--task", type=int, default=0, metavar="I", help="which task of an array this is, from 0")
    extract.add_argument("--tasks", type=positive, default=1, metavar="K", help="number of tasks of the array (1)")
    extract.add_argument("--shards", type=numbers, help="these shards instead, such as 3,17-19")
    add_places(extract)
    extract.add_argument("--scratch", type=Path, help="a fast local folder for what is in the making")
    extract.add_argument(
        "--workers", type=whole, help="processes that degrade and render (default: one a core; 0: all in this one)"
    )
    extract.set_defaults(run=_extract)


def _extract(options: argparse.Namespace) -> int:
    from keybed.extract.progress import progress_bar
    from keybed.extract.run.task import ExtractConfig, extract

    config = ExtractConfig(
        store=options.store,
        task=options.task,
        tasks=options.tasks,
        shards=options.shards,
        scratch=options.scratch,
        workers=options.workers,
        paths=given_places(options),
    )
    with progress_bar() as progress:
        report = extract(config, progress)
    print("\n".join(report.lines()))
    return STOPPED if report.interrupted else 0


def _register_sensitivity(subcommands: Any) -> None:
    sensitivity = subcommands.add_parser(
        "sensitivity", help="which encoder, state and pooling sees which mistake; asks a planned store, filled or not"
    )
    add_store(sensitivity)
    add_out(sensitivity)
    sensitivity.add_argument("--segments", type=positive, default=100, help="train segments to take (100)")
    sensitivity.add_argument("--states", type=numbers, default=(), help="look at these states' frames one by one")
    sensitivity.add_argument("--folds", type=positive, default=5, help="folds by piece (5)")
    sensitivity.add_argument("--seed", type=int, default=0)
    sensitivity.add_argument("--workers", type=positive, default=2, help="processes that render (2)")
    sensitivity.set_defaults(run=_sensitivity)


def _sensitivity(options: argparse.Namespace) -> None:
    from rich.console import Console

    from keybed.experiments.sensitivity.run import SensitivityConfig, run_sensitivity

    config = SensitivityConfig(
        store=options.store,
        out=options.out,
        segments=options.segments,
        states=options.states,
        folds=options.folds,
        seed=options.seed,
        workers=options.workers,
    )
    run_sensitivity(config, Console(soft_wrap=True))


def _register_export(subcommands: Any) -> None:
    export = subcommands.add_parser("export", help="degraded MIDI, audio and labels as one reproducible archive")
    add_store(export)
    export.add_argument("out", metavar="OUT.tar.gz", type=Path)
    export.add_argument("--limit", type=positive, help="at most so many rows")
    export.add_argument("--tier", type=names, help="only these tiers, such as pristine,poor")
    export.add_argument("--workers", type=whole, help="processes that render (default: one a core; 0: none)")
    export.add_argument("--audio-format", choices=("flac", "wav"), default="flac")
    export.set_defaults(run=_export)


def _export(options: argparse.Namespace) -> None:
    from keybed.extract.export.archive import ExportConfig, export
    from keybed.extract.progress import progress_bar

    config = ExportConfig(
        store=options.store,
        out=options.out,
        limit=options.limit,
        tiers=options.tier,
        audio_format=options.audio_format,
        workers=options.workers,
    )
    with progress_bar() as progress:
        report = export(config, progress)
    print("\n".join(report.lines()))
