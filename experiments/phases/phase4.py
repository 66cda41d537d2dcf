"""Phase 4: train the best fusion in full, and compare it with the plan's targets for asking experts.

    keybed phase4 STORE --after RUN3 --out RUN

Trains Phase 2's best fusion on aligned and on raw features, for 20 epochs and for as long as Phase 2 did; validation rows choose
the length and the features in each fold. Ablations of the fusion alone: without ranking loss, on layers instead of frames, on PCA
and int8 views where `keybed derive` made them.

Time: without ablations 2.4 times that of Phase 2 (8,000 rows, 3 seeds, both beside other jobs).

GO needs, in specific r: the four technical dimensions > 0.50 in the mean and > 0.20 each, musical_expression > 0.35, fusion
≥ 15 % over the best single modality. overall_interpretation is the mean of the others and counts in no gate. Expect:
technical targets are in reach for dimensions that an encoder carries at all; one dimension that no encoder carries fails the
gate.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from keybed.experiments.data.features import Features
from keybed.experiments.data.folds import outer_folds
from keybed.experiments.data.rated_rows import refuse_ratings
from keybed.experiments.data.run_facts import RowCounts, RunBefore, store_facts, this_machine
from keybed.experiments.data.run_folder import start_run, write_json
from keybed.experiments.data.view import View
from keybed.experiments.evaluation import alignment, tables
from keybed.experiments.evaluation.cross_validation import Budget, compiled_once
from keybed.experiments.evaluation.fusion_gain import gain
from keybed.experiments.evaluation.gate_chain import checksums
from keybed.experiments.evaluation.gates import write_gate
from keybed.experiments.evaluation.model_names import FINAL_FUSION, PHASE4_BEST_SINGLE, SINGLES
from keybed.experiments.evaluation.phase2_results import TableWithMean
from keybed.experiments.evaluation.phase3_results import Phase3Results
from keybed.experiments.evaluation.phase4_results import Phase4Gains, Phase4Means, Phase4Results
from keybed.experiments.evaluation.predictions import Predictions
from keybed.experiments.evaluation.residuals import error_pairs
from keybed.experiments.evaluation.saved_predictions import PREDICTIONS, save_predictions
from keybed.experiments.evaluation.unseen_piano import unseen_piano
from keybed.experiments.phases.config import Phase4Config
from keybed.experiments.phases.phase4_comparison import (
    ablation_table,
    coverage,
    final_predictions,
    overall_beside_mean,
)
from keybed.experiments.phases.phase4_criteria import phase4_gate
from keybed.experiments.phases.phase4_training import FusionTrainer, full_budgets
from keybed.experiments.phases.run_before import check_run_before, fingerprint_before
from keybed.experiments.reports.report import show_gate
from keybed.experiments.reports.results import read_results
from keybed.experiments.reports.run_log import run_log
from keybed.heads.progress import display
from keybed.store.counted import counted
from keybed.store.format.vocabulary import TECHNICAL
from keybed.store.read.opening import open_store


def _on_raw_features(raw: Predictions, final: Predictions) -> Predictions:
    """The single-modality heads on raw features beside the final fusion."""
    by_model = {**{m: raw.by_model[m] for m in SINGLES}, FINAL_FUSION: final.by_model[FINAL_FUSION]}
    return replace(final, by_model=by_model)


def run_phase4(config: Phase4Config, console: Console) -> Path:
    """Run Phase 4 to its report. Raises GateRefused, GateAltered and ChainBroken where Phase 3 does not allow it."""
    started = time.perf_counter()
    store = open_store(config.store)
    refuse_ratings(store, "Phase 4")
    gate_before, overrides = check_run_before(config.after, 3, fingerprint_before(config.after, store), config.override)
    phase3 = read_results(config.after, Phase3Results)
    pair, settings, fusion = phase3.pair, phase3.heads, phase3.heads.fusion
    view = View(pair.audio, pair.midi, pair.view)
    view.paths(store)
    rows = store.rows()
    folds = outer_folds(rows, settings.folds)
    budget = Budget(
        config.epochs,
        config.seeds,
        settings.hidden,
        settings.batch_rows,
        settings.learning_rate,
        pooling=settings.pooling,
        weight_decay=settings.weight_decay,
    )
    fit_config = full_budgets(budget)[-1].fit_config(max(len(f.train) for f in folds))
    projections = [alignment.load_projections(alignment.projection_path(config.after, fold)) for fold in folds]
    log = run_log(config.log, config.out, config)
    start_run(config.out, config, view.fingerprint(store))
    raw = Features(store, view, rows, memory_gib=config.memory_gib)
    console.print(
        f"Phase 4 on {counted(len(rows), 'row')}, {counted(len(folds), 'fold')}: {fusion} on aligned and raw features"
    )
    with compiled_once(), display(console) as bar:
        trainer = FusionTrainer(store, config.out, folds, full_budgets(budget), fusion, log.beside(bar))
        aligned = [
            alignment.aligned_features(
                projection,
                raw,
                memory_gib=config.memory_gib / len(folds),
                folder=config.out,
                say=console.print,
            )
            for projection in projections
        ]
        of_aligned, of_raw = trainer.run("aligned", aligned), trainer.run("raw", [raw] * len(folds))
        on_aligned, on_raw = of_aligned.result, of_raw.result
        conditions = {"aligned": on_aligned.predictions, "raw": on_raw.predictions}
        if config.ablations:
            without_ranking = [replace(kept, ranking=0.0) for kept in of_aligned.budgets]
            conditions["aligned, without ranking loss"] = trainer.fusion_alone("no-ranking", aligned, without_ranking)
            conditions |= trainer.views(pair, rows, of_raw.budgets, config.memory_gib)
    predictions = final_predictions(on_aligned, on_raw, fusion)
    shown = (FINAL_FUSION, PHASE4_BEST_SINGLE)
    specific, mean_specific_r = tables.correlation_table(predictions, shown, "specific")
    plain, mean_plain_r = tables.correlation_table(predictions, shown, "plain")
    results = Phase4Results(
        phase=4,
        store=store_facts(store),
        pair=pair,
        budget={
            **fit_config.to_json(),
            "epochs_by_fold": {"aligned": of_aligned.epochs(trainer.largest), "raw": of_raw.epochs(trainer.largest)},
        },
        after=RunBefore(config.after.name, gate_before.verdict),
        rows=RowCounts(len(rows), len(predictions.pieces), len(folds)),
        fusion=fusion,
        specific=specific,
        plain=plain,
        mean=Phase4Means(mean_specific_r, mean_plain_r),
        technical=tables.mean_specific(predictions, FINAL_FUSION, TECHNICAL),
        gain=Phase4Gains(gain(predictions, *shown), gain(predictions, *shown, kind="plain")),
        overall=overall_beside_mean(predictions, FINAL_FUSION),
        ablations=ablation_table(conditions, fusion),
        uncertainty=coverage(on_aligned, on_raw, fusion, predictions),
        history=tuple(on_aligned.fits[0].history),
        machine=this_machine(),
        seconds=round(time.perf_counter() - started, 1),
        pairwise=TableWithMean(*tables.pairwise_table(predictions, shown)),
        errors=error_pairs(_on_raw_features(on_raw.predictions, predictions), FINAL_FUSION),
        unseen_piano=unseen_piano(store, on_aligned.rows, predictions, shown),
    )
    write_json(config.out / "results.json", results)
    save_predictions(config.out, predictions, on_aligned.rows.index)
    gate = phase4_gate(
        results, checksums(config.out, view.fingerprint(store), ("config.json", "results.json", PREDICTIONS)), overrides
    )
    write_gate(config.out, gate)
    log.finish(results, gate)
    return show_gate(config.out, gate, store, console)
