"""Phase 3: align audio and MIDI in one space (InfoNCE), and measure the gain of fusion on the aligned features.

    keybed phase3 STORE --after RUN2 --out RUN

Trains projection heads with InfoNCE on paired audio and MIDI: 15 epochs, batches of 128 rows that hold whole segments, so
that a segment's other variants are the hard negatives. Then trains Phase 2's heads again on the aligned features, with the
same epochs, seeds and folds. Switches add terms to the objective; `--ablations` compares all of them (docs/alignment.md).

Time: minutes on a small store; one epoch of projections takes about as long as one epoch of heads.

GO needs: alignment > 0.6 (paired minus unpaired cosine after centring, on rows of pieces never trained on); a row's partner
found among its segment's own variants more often than by chance; no collapse; quality retained (a ridge probe on the
projections reaches ≥ 95 % of its specific r on the raw features); fusion gain ≥ 15 %. Expect: alignment rises easily,
because telling pieces apart is enough for it; recall among variants and retention are the numbers that show quality.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console

from keybed.experiments.data.features import Features
from keybed.experiments.data.folds import outer_folds
from keybed.experiments.data.rated_rows import refuse_ratings
from keybed.experiments.data.run_facts import RowCounts, RunBefore, store_facts, this_machine
from keybed.experiments.data.run_folder import start_run, write_json
from keybed.experiments.data.view import View
from keybed.experiments.evaluation import alignment
from keybed.experiments.evaluation import alignment_measures as measures
from keybed.experiments.evaluation.ablation_measures import mean_depth, state_alignment
from keybed.experiments.evaluation.cross_validation import (
    compiled_once,
    cross_validate,
    head_configs,
    merge_folds,
)
from keybed.experiments.evaluation.fusion_gain import gain
from keybed.experiments.evaluation.gate_chain import checksums
from keybed.experiments.evaluation.gates import write_gate
from keybed.experiments.evaluation.model_names import ALL_HEADS, BEST_FUSION, PHASE3_BEST_SINGLE, RAW
from keybed.experiments.evaluation.model_selection import most_often
from keybed.experiments.evaluation.phase2_results import Phase2Results
from keybed.experiments.evaluation.phase3_results import (
    Alignment,
    ChosenFusion,
    CollapseBeforeAfter,
    HeadSettings,
    Phase3Gains,
    Phase3Results,
    Projections2d,
    RetrievalBeforeAfter,
    VariantRecall,
)
from keybed.experiments.evaluation.ridge_probe import ridge_on_frames
from keybed.experiments.evaluation.saved_predictions import PREDICTIONS, load_predictions, same_rows, save_predictions
from keybed.experiments.evaluation.tables import mean_specific, pairwise_table
from keybed.experiments.phases.config import Phase3Config
from keybed.experiments.phases.phase2_budget import budget_of_run
from keybed.experiments.phases.phase3_ablations import LINES, lines_for, print_ablations, run_ablations
from keybed.experiments.phases.phase3_comparison import retention, with_raw_models
from keybed.experiments.phases.phase3_criteria import phase3_gate
from keybed.experiments.phases.run_before import check_run_before, fingerprint_before
from keybed.experiments.reports.report import show_gate
from keybed.experiments.reports.results import read_results
from keybed.experiments.reports.run_log import run_log
from keybed.heads.align import AlignConfig, Terms
from keybed.heads.alignment import terms
from keybed.heads.fit_config import FitConfig
from keybed.heads.progress import display, named
from keybed.store.counted import counted
from keybed.store.errors import KeybedError
from keybed.store.read.opening import open_store


def _terms(config: Phase3Config) -> Terms:
    """The switches of the command line as terms of the objective, with their weights."""
    return Terms(
        local=terms.LOCAL_WEIGHT if config.local else 0.0,
        hard_negatives=terms.HARD_NEGATIVE_BETA if config.hard_negatives else 0.0,
        codewords=config.codebook,
        tokens=terms.N_TOKENS if config.tokens else 0,
        mismatch=terms.MISMATCH_SHARE if config.mismatch else 0.0,
        blockwise=terms.BLOCKWISE_WEIGHT if config.blockwise else 0.0,
        quality=terms.QUALITY_WEIGHT if config.quality else 0.0,
    )


def run_phase3(config: Phase3Config, console: Console) -> Path:
    """Run Phase 3 to its report. Raises GateRefused, GateAltered and ChainBroken where Phase 2 does not allow it."""
    started = time.perf_counter()
    store = open_store(config.store)
    refuse_ratings(store, "Phase 3")
    gate_before, overrides = check_run_before(config.after, 2, fingerprint_before(config.after, store), config.override)
    phase2 = read_results(config.after, Phase2Results)
    pair = phase2.pair
    view = View(pair.audio, pair.midi, pair.view)
    if view.inputs == "layers":
        raise KeybedError("alignment needs the time grid: run Phase 2 with the frames view or a pca view first")
    view.paths(store)
    rows = store.rows()
    budget, n_folds = budget_of_run(config.after)
    heads = head_configs(ALL_HEADS, budget, "frames")
    folds = outer_folds(rows, n_folds)
    n_train = max(len(fold.train) for fold in folds)
    budget.fit_config(n_train)
    raw = load_predictions(config.after)
    same_rows(raw, rows.index[np.sort(np.concatenate([fold.test for fold in folds]))], config.after)
    batch_rows = config.batch_rows or (128 if n_train >= 20 * 128 else 64)
    fit = FitConfig(
        epochs=config.epochs, batch_rows=batch_rows, learning_rate=config.learning_rate, seeds=(0,), patience=0
    )
    window_s = float(store.recipe.segments.get("window_s", 10.0))
    align_config = AlignConfig(
        "infonce", config.hidden, config.width, config.temperature, window_s, fit, _terms(config)
    )
    log = run_log(config.log, config.out, config)
    start_run(config.out, config, view.fingerprint(store))
    features = Features(store, view, rows, memory_gib=config.memory_gib)
    with_layers = features
    if config.blockwise or config.ablations:
        with_layers = Features(store, replace(view, layers_too=True), rows, memory_gib=config.memory_gib)
    console.print(
        f"Phase 3 on {counted(len(rows), 'row')}, {counted(len(folds), 'fold')}: projections, then Phase 2's heads again"
    )
    fold_results, projections, probes = [], [], []
    after, before, by_cca, depth = [], [], [], []
    ablations = None
    with compiled_once(), display(console) as bar:
        progress = log.beside(bar)
        if config.ablations:
            lines = lines_for(rows)
            for name in LINES.keys() - lines.keys():
                console.print(f"no line {name}: no segment of this store has two variants to exchange notes between")
            ablations = run_ablations(
                with_layers,
                folds[: config.ablation_folds],
                replace(align_config, terms=Terms()),
                fingerprint=view.fingerprint(store),
                out=config.out,
                seeds=config.ablation_seeds,
                progress=named(progress, "ablations"),
                lines=lines,
            )
        source = with_layers if config.blockwise else features
        for number, fold in enumerate(folds):
            projection = alignment.fit_projections(
                source, fold, align_config, view.fingerprint(store), config.out, named(progress, "projections")
            )
            aligned = alignment.aligned_features(
                projection, source, memory_gib=config.memory_gib, folder=config.out, say=console.print
            )
            fold_results.append(
                cross_validate(
                    aligned,
                    [fold],
                    heads,
                    budget,
                    fingerprint=view.fingerprint(store),
                    n_train_rows=n_train,
                    checkpoints=config.out / "checkpoints" / f"fold-{number + 1}",
                    progress=named(progress, "aligned"),
                )
            )
            after.append(alignment.embed(projection, source, fold, fold.test))
            if config.blockwise:
                depth.append(state_alignment(projection, source, after[-1]))
            before.append(alignment.embed(alignment.untrained(projection, source), source, fold, fold.test))
            by_cca.append(alignment.embed_by_cca(features, fold, fold.test))
            probes.append({"raw": ridge_on_frames(features, fold), "aligned": ridge_on_frames(aligned, fold)})
            projections.append(projection)
            del aligned  # free its memory before the next fold's
    result = merge_folds(fold_results)
    predictions = with_raw_models(result, raw, phase2.evaluation.chosen)
    recall, chance = measures.variant_recall(after, rows)
    models = (*ALL_HEADS, *(f"{RAW}{h}" for h in ALL_HEADS), BEST_FUSION, PHASE3_BEST_SINGLE)
    results = Phase3Results(
        phase=3,
        store=store_facts(store),
        pair=pair,
        budget=phase2.budget,
        after=RunBefore(config.after.name, gate_before.verdict),
        rows=RowCounts(len(rows), len(predictions.pieces), len(folds)),
        alignment=Alignment(*(measures.alignment_interval(e, rows) for e in (after, before, by_cca))),
        variant_recall=VariantRecall(
            recall, measures.variant_recall(before, rows)[0], measures.variant_recall(by_cca, rows)[0], chance
        ),
        retrieval=RetrievalBeforeAfter(measures.retrieval(after[0], rows), measures.retrieval(before[0], rows)),
        collapse=CollapseBeforeAfter(measures.collapse_measures(after[0]), measures.collapse_measures(before[0])),
        retention=retention(probes, result),
        gain=Phase3Gains(gain(predictions, BEST_FUSION, PHASE3_BEST_SINGLE), phase2.evaluation.gain.a),
        mean={name: mean_specific(predictions, name) for name in models},
        chosen=ChosenFusion(most_often([c.fusion for c in result.choices]), result.choices),
        heads=HeadSettings(
            budget.hidden,
            budget.batch_rows,
            budget.learning_rate,
            budget.seeds,
            n_folds,
            phase2.evaluation.chosen.fusion,
            budget.pooling,
            budget.weight_decay,
        ),
        steps=config.epochs * -(-n_train // projections[0].config.fit.batch_rows),
        temperature=tuple(p.temperature() for p in projections),
        history=tuple(projections[0].history),
        terms=align_config.terms.to_json(),
        ablations=ablations,
        pairwise=pairwise_table(predictions, models)[1],
        depth=mean_depth(depth) if depth else None,
        projections_2d=Projections2d(measures.project_2d(before[0]), measures.project_2d(after[0])),
        machine=this_machine(),
        seconds=round(time.perf_counter() - started, 1),
    )
    write_json(config.out / "results.json", results)
    save_predictions(config.out, result.predictions, result.rows.index)
    names = ["config.json", "results.json", PREDICTIONS, *sorted(p.name for p in config.out.glob("projection-*.npz"))]
    rests_on = checksums(config.out, view.fingerprint(store), names)
    gate = phase3_gate(results, rests_on, overrides)
    write_gate(config.out, gate)
    log.finish(results, gate)
    if ablations is not None:
        print_ablations(console, ablations)
    return show_gate(config.out, gate, store, console)
