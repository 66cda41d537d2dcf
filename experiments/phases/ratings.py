"""Phase 2 on a store of ratings: the same heads, folds and intervals, trained on what people said.

    keybed plan MUSIC STORE --labels ratings.csv --label-scale 1,7
    keybed extract STORE
    keybed phase2 STORE --out RUN

Rows of one passage share its rating. Criteria that compare degraded variants of one segment are not applicable.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from keybed.experiments.data.features import Features
from keybed.experiments.data.fold_data import FoldData
from keybed.experiments.data.folds import Fold, outer_folds
from keybed.experiments.data.rated_rows import rated_rows
from keybed.experiments.data.run_facts import Pair, store_facts, this_machine
from keybed.experiments.data.run_folder import start_run, write_json
from keybed.experiments.data.view import View, pair_of
from keybed.experiments.evaluation import criterion_names, tables
from keybed.experiments.evaluation.cross_validation import compiled_once, head_configs, shortcut_predictions
from keybed.experiments.evaluation.each_piano import each_piano
from keybed.experiments.evaluation.fusion_gain import gain
from keybed.experiments.evaluation.gate_chain import checksums
from keybed.experiments.evaluation.gates import write_gate
from keybed.experiments.evaluation.intervals import Interval
from keybed.experiments.evaluation.model_names import (
    ALL_HEADS,
    BEST_FUSION,
    BEST_SINGLE,
    FUSIONS,
    SHORTCUT,
    SINGLES,
    SPECIALISTS,
)
from keybed.experiments.evaluation.phase2_results import EvaluatedRows
from keybed.experiments.evaluation.predictions import Correlations, Predictions, over_dimensions, over_seeds
from keybed.experiments.evaluation.rating_results import (
    KIND,
    RatingFold,
    RatingRunResults,
    RatingSummary,
    rating_gate,
)
from keybed.experiments.evaluation.saved_predictions import PREDICTIONS, save_predictions
from keybed.experiments.evaluation.unseen_piano import unseen_piano
from keybed.experiments.phases.config import Phase2Config
from keybed.experiments.phases.phase2_budget import budget_of
from keybed.experiments.phases.phase2_criteria import GAIN_THRESHOLD, GOOD_OVER_MODERATE, ORDERING_THRESHOLDS
from keybed.experiments.reports.report import render
from keybed.experiments.reports.run_log import run_log
from keybed.experiments.reports.terminal import print_rating_summary
from keybed.heads import fitted, train
from keybed.heads.progress import display, named
from keybed.store.counted import counted
from keybed.store.read.store import Store

Arrays = dict[str, NDArray[np.float32]]
NOT_ASKED = (
    *criterion_names.USED.values(),
    *(criterion_names.ordering(pair) for pair in (*ORDERING_THRESHOLDS, GOOD_OVER_MODERATE[0])),
    criterion_names.DIFFICULTY,
)
_KNOWN_BY_DEGRADATION = ("snr", "tier")
"""Shortcut baselines that say nothing about rows that were not degraded."""


def run_on_ratings(store: Store, config: Phase2Config, console: Console) -> Path:
    """Run Phase 2 on ratings to its report; returns RUN/report.html. An interrupted run continues where it stopped."""
    started = time.perf_counter()
    names = store.recipe.rating_dimensions
    view = View(*pair_of(store, config.audio, config.midi), config.view)
    view.paths(store)
    rows = rated_rows(store)
    folds = outer_folds(rows, config.folds)
    largest = max(len(fold.train) for fold in folds)
    # rows of one passage have one rating, so there is nothing to rank within a segment
    budget = budget_of(config, ranking=0.0)
    log = run_log(config.log, config.out, config)
    start_run(config.out, config, view.fingerprint(store))
    console.print(
        f"Phase 2 on ratings: {counted(len(rows), 'row')} of {counted(len(np.unique(rows.piece)), 'piece')}, "
        f"{counted(len(names), 'dimension')}; {view.audio} and {view.midi}, view {view.kind}; "
        f"{'the test split' if len(folds) == 1 else counted(len(folds), 'fold') + ' by piece'}"
    )
    features = Features(store, view, rows, memory_gib=config.memory_gib)
    heads = {
        name: replace(head, n_dimensions=len(names))
        for name, head in head_configs(ALL_HEADS, budget, view.inputs).items()
    }
    parts: list[Arrays] = []
    chosen: list[RatingFold] = []
    fits = []
    with compiled_once(), display(console) as bar:
        for number, fold in enumerate(folds):
            progress = named(log.beside(bar), f"fold-{number + 1}-of-{len(folds)}")
            fit_config = budget.fit_config(largest, config.out / "checkpoints" / f"fold-{number + 1}")
            data = FoldData(features, fold.train, fold.validation, fit_config.batch_rows, largest)
            fit = train.fit(heads, data, fit_config, store=view.fingerprint(store), progress=progress)
            validation = rated_predictions(features, fold.validation, fitted.predict(fit, data.validation()), names)
            choice = choose(validation, names)
            test = fitted.predict(fit, features.batches(fold.test, fit_config.batch_rows))
            parts.append(
                {
                    **test,
                    **composed(test, choice),
                    **shortcut_predictions(features, fold, config.seeds, left_out=_KNOWN_BY_DEGRADATION),
                }
            )
            chosen.append(choice)
            fits.append(fit)
    fitted.save(config.out / "heads.npz", fits[0])
    predictions = _together(features, folds, parts, names)
    console.print("evaluation: intervals …")
    shown = (*ALL_HEADS, SPECIALISTS, BEST_FUSION, BEST_SINGLE, *(n for n in predictions.names if SHORTCUT in n))
    r, mean_r = tables.correlation_table(predictions, shown, "plain")
    tested = np.sort(np.concatenate([fold.test for fold in folds]))
    test_rows = rows.take(tested)
    models = (*ALL_HEADS, SPECIALISTS)
    results = RatingRunResults(
        phase=KIND,
        store=store_facts(store),
        pair=Pair(view.audio, view.midi, view.kind),
        budget=budget.fit_config(largest).to_json(),
        rows=EvaluatedRows(
            rows=len(predictions.tier),
            pieces=len(predictions.pieces),
            segments=len(np.unique(predictions.segment)),
            how="test split" if len(folds) == 1 else f"out of fold, {counted(len(folds), 'fold')} by piece",
            folds=len(folds),
        ),
        dimensions=_summaries(store, features, names),
        folds=tuple(chosen),
        r={model: {name: _within_bounds(value) for name, value in of_model.items()} for model, of_model in r.items()},
        mean_r={model: _within_bounds(value) for model, value in mean_r.items()},
        points=tables.point_table(predictions, ALL_HEADS),
        over_single=gain(predictions, BEST_FUSION, BEST_SINGLE, kind="plain"),
        over_specialists=gain(predictions, BEST_FUSION, SPECIALISTS, kind="plain"),
        history=tuple(fits[0].history),
        machine=this_machine(),
        seconds=round(time.perf_counter() - started, 1),
        unseen_piano=unseen_piano(store, test_rows, predictions, models, "plain"),
        each_piano=each_piano(store, test_rows, predictions, models, "plain"),
    )
    write_json(config.out / "results.json", results)
    save_predictions(config.out, predictions, rows.index[tested])
    rests_on = checksums(config.out, view.fingerprint(store), ("config.json", "results.json", "heads.npz", PREDICTIONS))
    gate = rating_gate(results, GAIN_THRESHOLD, NOT_ASKED, rests_on)
    write_gate(config.out, gate)
    log.finish(results, gate)
    report = render(config.out)
    print_rating_summary(console, results, gate, report)
    return report


def _within_bounds(value: Interval) -> Interval:
    """The interval of a correlation, which with few pieces can reach beyond −1 and 1."""
    return Interval(value.value, max(value.low, -1.0), min(value.high, 1.0))


def rated_predictions(
    features: Features,
    positions: NDArray[np.int64],
    by_model: Mapping[str, NDArray[np.float32]],
    names: tuple[str, ...],
) -> Predictions:
    """Predictions of rows of a store of ratings."""
    rows = features.rows.take(positions)
    return Predictions(
        by_model, rows.score, rows.valid, rows.tier, rows.segment, rows.piece, rows.difficulty, dimensions=names
    )


def choose(validation: Predictions, names: Sequence[str]) -> RatingFold:
    """Best heads by mean Pearson r on validation rows; ties and undefined values go to the first name."""
    correlations = Correlations(validation, "plain")
    ones = np.ones((1, correlations.n_pieces)), np.ones((1, correlations.n_seeds))
    r = over_seeds(correlations(ones[0]), ones[1])
    mean = dict(zip(correlations.names, np.nan_to_num(over_dimensions(r))[0], strict=True))
    each = np.nan_to_num(r[0], nan=-1.0)[:, [correlations.names.index(name) for name in SINGLES]]
    return RatingFold(
        single=max(SINGLES, key=lambda name: mean[name]),
        fusion=max(FUSIONS, key=lambda name: mean[name]),
        specialists={name: SINGLES[int(np.argmax(row))] for name, row in zip(names, each, strict=True)},
    )


def composed(test: Arrays, choice: RatingFold) -> Arrays:
    """The models that the gate compares, from every head's predictions (seed, row, dimension)."""
    specialists = [test[name][:, :, k] for k, name in enumerate(choice.specialists.values())]
    return {
        BEST_FUSION: test[choice.fusion],
        BEST_SINGLE: test[choice.single],
        SPECIALISTS: np.stack(specialists, axis=2),
    }


def _together(
    features: Features, folds: Sequence[Fold], parts: Sequence[Arrays], names: tuple[str, ...]
) -> Predictions:
    positions = np.concatenate([fold.test for fold in folds])
    fold_of = np.concatenate([np.full(len(fold.test), number) for number, fold in enumerate(folds)])
    order = np.argsort(positions, kind="stable")
    by_model = {name: np.concatenate([part[name] for part in parts], axis=1)[:, order] for name in parts[0]}
    together = rated_predictions(features, positions[order], by_model, names)
    return replace(together, fold=fold_of[order] if len(folds) > 1 else None)


def _summaries(store: Store, features: Features, names: Sequence[str]) -> dict[str, RatingSummary]:
    rows = features.rows
    worst, best = (store.recipe.labels or {})["scale"]
    spread = store.read("row/rating_sd", rows.index) * 100 / abs(best - worst)
    summaries = {}
    for k, name in enumerate(names):
        score, sd = rows.score[rows.valid[:, k], k], spread[np.isfinite(spread[:, k]), k]
        summaries[name] = RatingSummary(
            rows=len(score),
            mean=float(score.mean()) if score.size else None,
            sd=float(score.std()) if score.size else None,
            sd_over_raters=float(sd.mean()) if sd.size else None,
        )
    return summaries
