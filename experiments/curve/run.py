"""Label efficiency: specific r against the amount of training data, what the next experiment needs, and whether rows or pieces bind.

    keybed curve STORE --out RUN [--percepiano DIR --after RUN2]

Trains audio only, MIDI only and concatenation, and a closed-form ridge, on 1/16, 1/8, 1/4, 1/2 and all of the training pieces of
every fold, in nested random draws; and, with a quarter and a sixteenth of the rows, on few pieces and on all of them. Every size
takes the same number of training steps; validation pieces stay whole, so sizes differ in the training data alone. With
--percepiano the same question is asked of human ratings: how many rated passages until a model trained on them beats the
heads of --after, which never met a rating.

Time: about 10 CPU-minutes for 8,000 rows of the two baselines on two cores with 2 draws (docs/curve.md). Finished sizes
are kept: the same command goes on after a stop.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress

from keybed.experiments.curve.answer import answer
from keybed.experiments.curve.cells import CellTrainer
from keybed.experiments.curve.config import CurveConfig
from keybed.experiments.curve.measure import Measurements
from keybed.experiments.curve.training_sets import CELLS, PIECES
from keybed.experiments.data.features import Features
from keybed.experiments.data.folds import Fold, TooFewPieces, outer_folds
from keybed.experiments.data.rated_rows import refuse_ratings
from keybed.experiments.data.run_facts import Pair, RowCounts, store_facts, this_machine
from keybed.experiments.data.run_folder import start_run, write_json
from keybed.experiments.data.view import View, pair_of
from keybed.experiments.evaluation.cross_validation import Budget, compiled_once, scored_rows
from keybed.experiments.evaluation.curve_results import BEST_HEAD, RIDGE, CurveResults, RatingCurve
from keybed.experiments.evaluation.predictions import Predictions
from keybed.experiments.reports.report import render
from keybed.store.command import command
from keybed.store.counted import counted
from keybed.store.errors import KeybedError
from keybed.store.format.rows import Rows
from keybed.store.read.opening import open_store

FEWEST_PIECES = 16
"""Training pieces of a fold: with fewer, a sixteenth is no piece of its own."""


def run_curve(config: CurveConfig, console: Console) -> Path:
    """Measure, write RUN/results.json and RUN/report.html, and return the report's path.

    Raises TooFewPieces, and KeybedError where --percepiano and --after are not given together.
    """
    started, cpu_started = time.perf_counter(), time.process_time()
    if (config.percepiano is None) != (config.after is None):
        raise KeybedError("--percepiano and --after go together: the zero-shot heads come from --after RUN")
    store = open_store(config.store)
    refuse_ratings(
        store, "curve", "measures specific r on degraded rows (--percepiano asks how many ratings are needed)"
    )
    view = View(*pair_of(store, config.audio, config.midi))
    view.paths(store)
    rows = store.rows()
    folds = outer_folds(rows, config.folds)
    _check_pieces(rows, folds)
    budget = Budget(config.epochs, config.draws, config.hidden, learning_rate=config.learning_rate)
    budget.fit_config(max(len(fold.train) for fold in folds))
    start_run(config.out, config, view.fingerprint(store))
    console.print(
        f"curve on {counted(len(rows), 'row')} of {counted(len(np.unique(rows.piece)), 'piece')}: {view.audio} and {view.midi}, "
        f"{counted(len(CELLS), 'training set')} × {counted(len(folds), 'fold')} × {counted(config.draws, 'draw')}"
    )
    ratings = _ratings(config, console)
    features = Features(store, view, rows, memory_gib=config.memory_gib)
    trainer = CellTrainer(
        features, folds, budget, seed=config.seed, fingerprint=view.fingerprint(store), folder=config.out / "cells"
    )
    cells = []
    with compiled_once(), Progress(console=console, transient=True) as progress:
        bar = progress.add_task("training", total=len(CELLS) * len(folds) * config.draws)
        for cell in CELLS:
            progress.update(bar, description=cell.name)
            cells.append(trainer.run(cell, lambda: progress.advance(bar)))
    console.print("evaluation: intervals, fits …")
    measured = Measurements(cells, _test_rows(features.rows, folds))
    tables, (curves, needed) = measured.tables(), measured.curves()
    binding = {model: measured.binding(model) for model in (BEST_HEAD, RIDGE)}
    largest = tables[CELLS.index(PIECES[-1])]
    word, sentence = answer(largest, needed, binding, ratings)
    seconds = time.perf_counter() - started
    results = CurveResults(
        phase="curve",
        store=store_facts(store),
        pair=Pair(view.audio, view.midi, view.kind),
        rows=RowCounts(sum(len(f.test) for f in folds), _n_test_pieces(rows, folds), len(folds)),
        draws=config.draws,
        epochs=config.epochs,
        cells=tuple(tables),
        curves=curves,
        needed=needed,
        binding=binding,
        ratings=ratings,
        word=word,
        answer=sentence,
        machine=this_machine(),
        seconds=round(seconds, 1),
        cpu_seconds=round(time.process_time() - cpu_started, 1),
    )
    write_json(config.out / "results.json", results)
    report = render(config.out)
    console.print(sentence)
    console.print(f"report: {report}, made in {seconds:.0f} s", soft_wrap=True)
    console.print(f"next: {_next(config)}", soft_wrap=True)
    return report


def _ratings(config: CurveConfig, console: Console) -> RatingCurve | None:
    """First of all, so that a wrong folder or run is found before an hour of training."""
    if config.percepiano is None or config.after is None:
        return None
    from keybed.experiments.curve.ratings import rating_curve

    return rating_curve(config.percepiano, config.store, config.after, config.head, config.out, config.seed, console)


def _check_pieces(rows: Rows, folds: list[Fold]) -> None:
    fewest = min(len(np.unique(rows.piece[fold.train])) for fold in folds)
    if fewest < FEWEST_PIECES:
        raise TooFewPieces(
            f"a curve from 1/16 to all of the training pieces needs {FEWEST_PIECES} of them in every fold; the smallest fold has "
            f"{fewest}: plan a larger store (`keybed plan … --limit N`) or give more --folds"
        )


def _test_rows(rows: Rows, folds: list[Fold]) -> Predictions:
    """Labels of all test rows, fold by fold, without predictions of any model."""
    positions = np.concatenate([fold.test for fold in folds])
    nothing = {"none": np.zeros((1, len(positions), 8), np.float32)}
    of_rows = scored_rows(rows.take(positions), nothing)
    number = np.concatenate([np.full(len(fold.test), i) for i, fold in enumerate(folds)])
    return replace(of_rows, fold=number if len(folds) > 1 else None)


def _n_test_pieces(rows: Rows, folds: list[Fold]) -> int:
    return len(np.unique(np.concatenate([rows.piece[fold.test] for fold in folds])))


def _next(config: CurveConfig) -> str:
    """The ratings' half where it was left out, else the phase that the answer is for."""
    if config.percepiano is None:
        return command(
            "curve",
            config.store,
            "--out",
            config.out.with_name(f"{config.out.name}-ratings"),
            "--percepiano",
            "DIR",
            "--after",
            "RUN",
        )
    return command("phase2", config.store, "--out", config.out.with_name(f"{config.out.name}-phase2"))
