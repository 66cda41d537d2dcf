"""Phase 3, contrastive alignment. Do sound and notes meet in one space, and does fusion gain more there?

    keybed phase3 STORE --after RUN2 --out RUN

Trains projection heads with InfoNCE on paired audio and MIDI (15 epochs, batches of 128 that hold whole segments, so
that a segment's other variants are the hard negatives), then trains Phase 2's heads again on the aligned features with
the same epochs, seeds and folds. Minutes on a small store; one epoch of projections costs about one epoch of heads.

GO needs: alignment (paired minus unpaired cosine after centring, on rows of pieces never trained on) > 0.6; a row's
partner found among its segment's own variants more often than chance; no collapse; quality still in the projections
(a straight line reads ≥ 95 % of the specific r that it reads from the raw features); fusion gain ≥ 15 %. What to expect:
alignment rises easily by telling pieces apart, which is not quality; the variants' recall and the retention are the
numbers to look at.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from keybed.experiments.data.features import Features, View
from keybed.experiments.data.folds import MIN_TEST_PIECES, Fold, n_test_pieces, out_of_fold, split_fold
from keybed.experiments.data.run_folder import about_store, machine, read_json, start_run, write_json
from keybed.experiments.evaluation import alignment
from keybed.experiments.evaluation.cross_validation import (
    Budget,
    CrossValidation,
    compiled_once,
    cross_validate,
    head_configs,
    scored_rows,
)
from keybed.experiments.evaluation.fusion_gain import gain
from keybed.experiments.evaluation.gates import (
    Criterion,
    above_zero,
    at_least,
    check_chain,
    make_gate,
    more_than,
    sha256_of,
    write_gate,
)
from keybed.experiments.evaluation.intervals import Interval, intervals
from keybed.experiments.evaluation.model_names import ALL_HEADS, BEST_FUSION, PHASE3_BEST_SINGLE, SINGLES
from keybed.experiments.evaluation.model_selection import most_often
from keybed.experiments.evaluation.predictions import Correlations, Predictions, over_dimensions, over_seeds
from keybed.experiments.evaluation.ridge_probe import fit_line
from keybed.experiments.evaluation.saved_predictions import (
    PREDICTIONS,
    SavedPredictions,
    load_predictions,
    same_rows,
    save_predictions,
)
from keybed.experiments.phases.config import Phase3Config
from keybed.experiments.reports.report import render
from keybed.heads.align import AlignConfig, AlignResult
from keybed.heads.fit_config import FitConfig
from keybed.heads.progress import display
from keybed.heads.ridge import frame_block
from keybed.store.errors import KeybedError
from keybed.store.read.store import open_store

ALIGNMENT_THRESHOLD, RETENTION_THRESHOLD, GAIN_THRESHOLD = 0.6, 0.95, 0.15
LEAST_RANK, MOST_UNIFORMITY = 5.0, -0.5
"""Ours: below this effective rank, or above this uniformity (0 is one point), a space counts as collapsed."""


def outer_folds(features: Features, n_folds: int) -> list[Fold]:
    """The folds that Phase 2 judged by: the test split, or all pieces out of fold."""
    if n_test_pieces(features.rows) >= MIN_TEST_PIECES:
        return [split_fold(features.rows)]
    return out_of_fold(features.rows, n_folds, seed=0)


def phase2_budget(run: Path) -> tuple[Budget, int]:
    """What Phase 2's heads got, and its number of folds, from its config.json."""
    told = read_json(run / "config.json")["config"]
    budget = Budget(told["epochs"], told["seeds"], told["hidden"], told["batch_rows"], told["learning_rate"])
    return budget, told["folds"]


def run_phase3(config: Phase3Config, console: Console) -> Path:
    """Run Phase 3 to its report. Raises GateRefused and ChainBroken where Phase 2 does not allow it."""
    started = time.perf_counter()
    store = open_store(config.store)
    before, overrides = check_chain(config.after, 2, store.fingerprint, config.override)
    earlier = read_json(config.after / "results.json")
    pair = earlier["pair"]
    if pair["view"] in ("layers", "pooled"):
        raise KeybedError("alignment works on the time grid: run Phase 2 with the frames view or a pca view first")
    start_run(config.out, config, store.fingerprint)
    rows = store.rows()
    features = Features(store, View(pair["audio"], pair["midi"], pair["view"]), rows, memory_gib=config.memory_gib)
    budget, n_folds = phase2_budget(config.after)
    folds = outer_folds(features, n_folds)
    raw = load_predictions(config.after)
    n_train = max(len(fold.train) for fold in folds)
    batch_rows = config.batch_rows or (128 if n_train >= 20 * 128 else 64)
    fit = FitConfig(
        epochs=config.epochs, batch_rows=batch_rows, learning_rate=config.learning_rate, seeds=(0,), patience=0
    )
    window_s = float(store.recipe.segments.get("window_s", 10.0))
    wanted = AlignConfig("infonce", config.hidden, config.width, config.temperature, window_s, fit)
    heads = head_configs(ALL_HEADS, budget.hidden, "frames")
    console.print(f"Phase 3 on {len(rows)} rows, {len(folds)} fold(s): projections, then Phase 2's heads again")
    trials, embeddings, embeddings_before, embeddings_cca, retention = [], [], [], [], []
    projections: list[AlignResult] = []
    with compiled_once(), display(console) as progress:
        for number, fold in enumerate(folds):
            result = alignment.fit_projections(features, fold, wanted, store.fingerprint, config.out, progress)
            there = alignment.aligned_features(
                result, features, memory_gib=config.memory_gib, folder=config.out, say=console.print
            )
            trials.append(
                cross_validate(
                    there,
                    [fold],
                    heads,
                    budget,
                    fingerprint=store.fingerprint,
                    n_train_rows=n_train,
                    checkpoints=config.out / "checkpoints" / f"fold-{number + 1}",
                    progress=progress,
                )
            )
            embeddings.append(alignment.embed(result, features, fold, fold.test))
            embeddings_before.append(alignment.embed(alignment.untrained(result, features), features, fold, fold.test))
            embeddings_cca.append(alignment.embed_by_cca(features, fold, fold.test))
            retention.append(_lines(features, there, fold))
            projections.append(result)
            del there  # before the next fold makes its own
    trial = merge_folds(trials)
    same_rows(raw, trial.rows.index, config.after)
    predictions = with_raw_models(trial, raw, earlier)
    recall, chance = alignment.variant_recall(embeddings, rows)
    results: dict[str, Any] = {
        "phase": 3,
        "store": about_store(store),
        "pair": pair,
        "budget": earlier["budget"],
        "after": {"run": config.after.name, "verdict": before.verdict},
        "judged": {"rows": len(rows), "pieces": len(predictions.pieces), "folds": len(folds)},
        "alignment": {
            "after": alignment.alignment_interval(embeddings, rows),
            "before": alignment.alignment_interval(embeddings_before, rows),
            "cca": alignment.alignment_interval(embeddings_cca, rows),
        },
        "variant_recall": {
            "after": recall,
            "before": alignment.variant_recall(embeddings_before, rows)[0],
            "cca": alignment.variant_recall(embeddings_cca, rows)[0],
            "chance": chance,
        },
        "retrieval": {
            "after": alignment.retrieval(embeddings[0], rows),
            "before": alignment.retrieval(embeddings_before[0], rows),
        },
        "spread": {
            "after": alignment.collapse_measures(embeddings[0]),
            "before": alignment.collapse_measures(embeddings_before[0]),
        },
        "retention": _retention(retention, trial),
        "gain": {"aligned": gain(predictions, BEST_FUSION, PHASE3_BEST_SINGLE), "phase2": earlier["gain"]["a"]},
        "mean": {
            name: _mean(predictions, name)
            for name in (*ALL_HEADS, *(f"raw {h}" for h in ALL_HEADS), BEST_FUSION, PHASE3_BEST_SINGLE)
        },
        "chosen": {
            "fusion": most_often([c.fusion for c in trial.choices]),
            "each_fold": [c.to_json() for c in trial.choices],
        },
        "heads": {
            "hidden": budget.hidden,
            "batch_rows": budget.batch_rows,
            "learning_rate": budget.learning_rate,
            "seeds": budget.seeds,
            "folds": n_folds,
            "fusion": earlier["chosen"]["fusion"],
        },
        "steps": config.epochs * -(-n_train // projections[0].config.fit.batch_rows),
        "temperature": [p.temperature() for p in projections],
        "history": projections[0].history,
        "plane": {"before": alignment.project_2d(embeddings_before[0]), "after": alignment.project_2d(embeddings[0])},
        "machine": machine(),
        "seconds": round(time.perf_counter() - started, 1),
    }
    criteria = phase3_criteria(results)
    write_json(config.out / "results.json", results)
    save_predictions(config.out, trial)
    names = ["results.json", PREDICTIONS, *sorted(p.name for p in config.out.glob("projection-*.npz"))]
    rests_on = {"store": store.fingerprint} | {name: sha256_of(config.out / name) for name in names}
    gate = make_gate(3, criteria, _literal(results), rests_on, overrides=overrides)
    write_gate(config.out, gate)
    report = render(config.out)
    console.print(f"Phase 3: {gate.verdict}. {gate.headline}")
    console.print(f"report: {report}", soft_wrap=True)
    return report


def merge_folds(trials: list[CrossValidation]) -> CrossValidation:
    """Trials of one fold each, over different rows, as one."""
    if len(trials) == 1:
        return trials[0]
    index = np.concatenate([t.rows.index for t in trials])
    order = np.argsort(index, kind="stable")
    first = trials[0].rows
    columns = {
        name: np.concatenate([getattr(t.rows, name) for t in trials])[order] for name in first.__dataclass_fields__
    }
    rows = type(first)(**columns)
    said = {
        name: np.concatenate([t.predictions.by_model[name] for t in trials], axis=1)[:, order]
        for name in trials[0].predictions.names
    }
    fold = np.concatenate([np.full(len(t.rows), i) for i, t in enumerate(trials)])[order]
    return CrossValidation(
        replace(scored_rows(rows, said), fold=fold),
        rows,
        tuple(f for t in trials for f in t.folds),
        tuple(c for t in trials for c in t.choices),
        tuple(f for t in trials for f in t.fits),
        tuple(v for t in trials for v in t.validation),
    )


def with_raw_models(trial: CrossValidation, raw: SavedPredictions, earlier: dict[str, Any]) -> Predictions:
    """The aligned heads beside the raw ones, and the best single modality of either kind, chosen on validation in each fold."""
    predictions = trial.predictions
    fold = np.zeros(len(predictions.tier), np.int64) if predictions.fold is None else predictions.fold
    more = {f"raw {name}": raw.by_model[name] for name in ALL_HEADS}
    single = np.zeros_like(predictions.by_model["audio"])
    for f, (ours, theirs) in enumerate(zip(trial.choices, earlier["chosen"]["each_fold"], strict=True)):
        candidates = {name: ours.validation[name] for name in SINGLES}
        candidates |= {f"raw {name}": theirs["validation"][name] for name in SINGLES}
        best = max(candidates, key=lambda name: candidates[name])
        said = more[best] if best.startswith("raw ") else predictions.by_model[best]
        single[:, fold == f] = said[:, fold == f]
    return replace(predictions, by_model={**predictions.by_model, **more, PHASE3_BEST_SINGLE: single})


def _lines(raw: Features, there: Features, fold: Fold) -> dict[str, NDArray[np.float32]]:
    """Ridge predictions for the fold's judged rows from both modalities' raw and aligned frames."""
    parts = [raw.rows.take(p[:8192]) for p in (fold.train, fold.validation, fold.test)]
    found = {}
    for name, features in (("raw", raw), ("aligned", there)):
        blocks = []
        for positions in (fold.train[:8192], fold.validation[:8192], fold.test[:8192]):
            batch = features.batch(positions)
            sides = [
                frame_block(m, np.asarray(getattr(batch, f"{m}_BxTxC")), np.asarray(getattr(batch, f"{m}_mask_BxT")))[m]
                for m in SINGLES
            ]
            blocks.append(np.concatenate(sides, axis=2))
        found[name] = fit_line((blocks[0], blocks[1], blocks[2]), parts)[1]
    return found


def _retention(lines: list[dict[str, NDArray[np.float32]]], trial: CrossValidation) -> dict[str, Interval]:
    """Mean specific r that a straight line reads from the projections ÷ from the raw features."""
    order = np.argsort(np.concatenate([f.test[:8192] for f in trial.folds]), kind="stable")
    said = {n: np.concatenate([part[n] for part in lines])[order][None] for n in ("raw", "aligned")}
    kept = np.sort(np.concatenate([f.test[:8192] for f in trial.folds]))
    everything = np.sort(np.concatenate([f.test for f in trial.folds]))
    at = np.searchsorted(everything, kept)
    fold = None if trial.predictions.fold is None else trial.predictions.fold[at]
    predictions = replace(scored_rows(trial.rows.take(at), said), fold=fold)
    correlations = Correlations(predictions, "specific")

    def statistic(pieces: NDArray[np.float64], seeds: NDArray[np.float64]) -> NDArray[np.float64]:
        mean = over_dimensions(over_seeds(correlations(pieces), seeds))
        ratio = np.divide(mean[:, 1], mean[:, 0], out=np.full(len(mean), np.nan), where=mean[:, 0] > 0.02)
        return np.column_stack([mean, ratio])

    raw, there, ratio = intervals(statistic, correlations.n_pieces, 1)
    return {"raw": raw, "aligned": there, "ratio": ratio}


def _mean(predictions: Predictions, name: str) -> Interval:
    correlations = Correlations(predictions.only((name,)), "specific")
    found: Interval = intervals(
        lambda p, s: over_dimensions(over_seeds(correlations(p), s)), correlations.n_pieces, correlations.n_seeds
    )[0]
    return found


def phase3_criteria(results: dict[str, Any]) -> list[Criterion]:
    """Alignment, recall among variants, no collapse, retention, gain."""
    a, recall, chance = results["alignment"], results["variant_recall"]["after"], results["variant_recall"]["chance"]
    rank = min(results["spread"]["after"][m]["effective_rank"] for m in SINGLES)
    uniform = max(results["spread"]["after"][m]["uniformity"] for m in SINGLES)
    kept, found = results["retention"], results["gain"]["aligned"]
    over_chance = Interval(recall.value - chance, recall.low - chance, recall.high - chance)
    collapsed = rank < LEAST_RANK or uniform > MOST_UNIFORMITY
    return [
        more_than(
            "alignment",
            a["after"],
            ALIGNMENT_THRESHOLD,
            f"paired − unpaired cosine; untrained {_minus(a['before'].value)}, closed-form CCA {_minus(a['cca'].value)}",
        ),
        above_zero(
            "partner found among the segment's own variants",
            over_chance,
            f"R@1 {recall.value:.3f} − chance {chance:.3f} = {over_chance.value:+.3f}".replace("-", "−"),
        ),
        Criterion(
            "no collapse",
            float(rank),
            None,
            None,
            f"effective rank ≥ {LEAST_RANK:g}, uniformity ≤ {MOST_UNIFORMITY:g}".replace("-", "−"),
            "fail" if collapsed else "pass",
            f"lower of both modalities: effective rank {rank:.1f}; higher: uniformity {uniform:.2f}".replace("-", "−"),
        ),
        at_least(
            "quality retained",
            kept["ratio"],
            RETENTION_THRESHOLD,
            f"a straight line reads {kept['aligned'].value:.3f} from the projections, {kept['raw'].value:.3f} from the raw features",
        ),
        at_least(
            "fusion gain over the best single modality, raw or aligned",
            found.relative,
            GAIN_THRESHOLD,
            found.arithmetic,
            above_zero=True,
        ),
    ]


def _minus(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


def _literal(results: dict[str, Any]) -> list[Criterion]:
    value: Interval = results["alignment"]["after"]
    return [more_than("literal: alignment", value, ALIGNMENT_THRESHOLD, "the plan's only number beside the gain")]
