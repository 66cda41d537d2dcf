"""Phase 2: compare fusion of audio and MIDI with either alone, and test that heads measure quality and not difficulty.

    keybed phase2 STORE --out RUN

Trains five heads (audio only, MIDI only, concatenation, cross-attention, gated) with 5 seeds, all in one pass over the stored
features, beside a closed-form ridge probe and shortcut baselines: 5 epochs, or up to 15 where 5 are fewer than 750 steps, as
in a store of a few thousand rows. A store with fewer than 20 test pieces is tested out of fold over all its pieces.

Time: about a minute for a few hundred rows on two cores (mostly compilation); on all of MAESTRO a few minutes per epoch with
the `pca` view.

GO needs: fusion ≥ 10 % better in mean specific r than the best single modality, with the interval above zero, and better
than the specialists; both modalities used; pristine over degraded, also where tone helps least; predictions that difficulty
does not move. Expect with the baseline encoders on real piano music: each modality carries other dimensions, so fusion is
far better than either alone; the open result is fusion against the specialists.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from keybed.experiments.data.features import Features
from keybed.experiments.data.folds import MIN_TEST_PIECES, Fold, TooFewPieces, n_test_pieces, out_of_fold, split_fold
from keybed.experiments.data.run_facts import Pair, store_facts, this_machine
from keybed.experiments.data.run_folder import start_run, write_json
from keybed.experiments.data.view import View, pair_of
from keybed.experiments.evaluation.cross_validation import compiled_once, cross_validate, head_configs
from keybed.experiments.evaluation.each_piano import each_piano
from keybed.experiments.evaluation.gate_chain import checksums
from keybed.experiments.evaluation.gates import write_gate
from keybed.experiments.evaluation.model_names import ALL_HEADS, SPECIALISTS
from keybed.experiments.evaluation.phase2_results import Phase2Results
from keybed.experiments.evaluation.ridge_probe import ridge_probe
from keybed.experiments.evaluation.saved_predictions import PREDICTIONS, save_predictions
from keybed.experiments.evaluation.unseen_piano import unseen_piano
from keybed.experiments.phases.config import Phase2Config
from keybed.experiments.phases.phase2_budget import budget_of
from keybed.experiments.phases.phase2_criteria import phase2_gate
from keybed.experiments.phases.phase2_evaluation import evaluate, evaluate_test_split, inspect
from keybed.experiments.phases.ratings import run_on_ratings
from keybed.experiments.reports.report import render
from keybed.experiments.reports.run_log import run_log
from keybed.experiments.reports.terminal import print_summary
from keybed.heads import fitted
from keybed.heads.progress import display
from keybed.store.counted import counted
from keybed.store.format.rows import Rows
from keybed.store.read.opening import open_store


def run_phase2(config: Phase2Config, console: Console) -> Path:
    """Run Phase 2 to its report; returns RUN/report.html. An interrupted run continues where it stopped."""
    started = time.perf_counter()
    store = open_store(config.store)
    if store.recipe.labels is not None:
        return run_on_ratings(store, config, console)
    view = View(*pair_of(store, config.audio, config.midi), config.view)
    view.paths(store)
    rows = store.rows()
    budget = budget_of(config)
    heads = head_configs(ALL_HEADS, budget, view.inputs)
    own_split, folds = _plan(rows, config.folds, console)
    largest = max(len(fold.train) for fold in (*own_split, *folds))
    fit_config = budget.fit_config(largest)
    log = run_log(config.log, config.out, config)
    start_run(config.out, config, view.fingerprint(store))
    console.print(
        f"Phase 2 on {counted(len(rows), 'row')} of {counted(len(np.unique(rows.piece)), 'piece')}: {view.audio} and {view.midi}, view {view.kind}"
    )
    features = Features(store, view, rows, memory_gib=config.memory_gib)
    checkpoints = config.out / "checkpoints"
    with compiled_once(), display(console) as bar:
        progress = log.beside(bar)
        common: dict[str, Any] = {"fingerprint": view.fingerprint(store), "n_train_rows": largest, "progress": progress}
        on_split = on_folds = None
        if own_split:
            on_split = cross_validate(features, own_split, heads, budget, checkpoints=checkpoints / "split", **common)
        if folds:
            on_folds = cross_validate(features, folds, heads, budget, checkpoints=checkpoints / "folds", **common)
    result, shown = on_folds or on_split, on_split or on_folds
    assert result is not None
    assert shown is not None
    fitted.save(config.out / "heads.npz", shown.fits[0])
    console.print("evaluation: intervals, ordering, swaps, shortcuts …")
    results = Phase2Results(
        phase=2,
        store=store_facts(store),
        pair=Pair(view.audio, view.midi, view.kind),
        budget=fit_config.to_json(),
        evaluation=evaluate(result),
        test_split=None if on_split is None else evaluate_test_split(on_split),
        ridge=ridge_probe(store, view.audio, view.midi, (own_split or folds)[0], rows),
        inspection=inspect(shown, features),
        history=tuple(shown.fits[0].history),
        machine=this_machine(),
        seconds=round(time.perf_counter() - started, 1),
        unseen_piano=unseen_piano(store, result.rows, result.predictions, (*ALL_HEADS, SPECIALISTS)),
        each_piano=each_piano(store, result.rows, result.predictions, (*ALL_HEADS, SPECIALISTS), "specific"),
    )
    write_json(config.out / "results.json", results)
    save_predictions(config.out, result.predictions, result.rows.index)
    rests_on = checksums(config.out, view.fingerprint(store), ("config.json", "results.json", "heads.npz", PREDICTIONS))
    gate = phase2_gate(results, rests_on)
    write_gate(config.out, gate)
    log.finish(results, gate)
    report = render(config.out, store)
    print_summary(console, results, gate, report)
    return report


def _plan(rows: Rows, n_folds: int, console: Console) -> tuple[list[Fold], list[Fold]]:
    """The store's own split (none where a part of it is empty), and folds over all pieces where its test part is small."""
    n_pieces = n_test_pieces(rows)
    try:
        own_split = [split_fold(rows)]
    except TooFewPieces as error:
        console.print(str(error), style="yellow")
        own_split = []
    if own_split and n_pieces >= MIN_TEST_PIECES:
        return own_split, []
    console.print(
        f"The test split has {counted(n_pieces, 'piece')}, under {MIN_TEST_PIECES}: every piece is tested out of fold instead "
        f"({counted(n_folds, 'fold')} by piece)."
    )
    return own_split, out_of_fold(rows, n_folds, seed=0)
