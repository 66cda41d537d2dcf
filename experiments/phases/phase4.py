"""Phase 4, full training. Is the judge good enough to spend money on expert ears?

    keybed phase4 STORE --after RUN3 --out RUN

Trains Phase 2's best fusion for 20 epochs on aligned and on raw features (which of the two is final is chosen on
validation rows in each fold), with ablations of the fusion alone: without ranking loss, on layers instead of frames, on
PCA and int8 views where `keybed derive` made them. About twice Phase 2's training time for each line of the table.

GO needs, in specific r: the four technical dimensions > 0.50 in the mean and > 0.20 each, musical_expression > 0.35,
fusion ≥ 15 % over the best single modality. overall_interpretation is the mean of the others and counts in no gate. What
to expect: technical targets are within reach of the dimensions that an encoder can see at all; one blind dimension fails
the gate, and that is what it is for.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from keybed.experiments.data.features import Features, FoldData, View
from keybed.experiments.data.folds import Fold
from keybed.experiments.data.run_folder import about_store, machine, read_json, start_run, write_json
from keybed.experiments.evaluation import alignment, tables
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
    at_least,
    check_chain,
    make_gate,
    more_than,
    sha256_of,
    write_gate,
)
from keybed.experiments.evaluation.intervals import Interval, intervals
from keybed.experiments.evaluation.model_names import FINAL_FUSION, PHASE4_BEST_SINGLE, SINGLES
from keybed.experiments.evaluation.predictions import Correlations, Predictions, over_dimensions, over_seeds
from keybed.experiments.evaluation.saved_predictions import PREDICTIONS, save_predictions
from keybed.experiments.phases.config import Phase4Config
from keybed.experiments.phases.phase3 import merge_folds, outer_folds
from keybed.experiments.reports.report import render
from keybed.heads import fitted, train
from keybed.heads.progress import Listener, display
from keybed.store.errors import NoSuchFeature
from keybed.store.format.rows import Rows
from keybed.store.format.vocabulary import AXIS_DIMENSIONS, DIMENSIONS, TECHNICAL
from keybed.store.read.store import Store, open_store

TECHNICAL_MEAN, TECHNICAL_EACH, INTERPRETIVE, GAIN = 0.50, 0.20, 0.35, 0.15
COVERAGE = 0.90


def run_phase4(config: Phase4Config, console: Console) -> Path:
    """Run Phase 4 to its report. Raises GateRefused and ChainBroken where Phase 3 does not allow it."""
    started = time.perf_counter()
    store = open_store(config.store)
    before, overrides = check_chain(config.after, 3, store.fingerprint, config.override)
    earlier = read_json(config.after / "results.json")
    pair, told = earlier["pair"], earlier["heads"]
    start_run(config.out, config, store.fingerprint)
    rows = store.rows()
    raw = Features(store, View(pair["audio"], pair["midi"], pair["view"]), rows, memory_gib=config.memory_gib)
    folds = outer_folds(raw, told["folds"])
    budget = Budget(config.epochs, config.seeds, told["hidden"], told["batch_rows"], told["learning_rate"])
    fusion = told["fusion"]
    console.print(f"Phase 4 on {len(rows)} rows, {len(folds)} fold(s): {fusion} on aligned and raw features")
    with compiled_once(), display(console) as progress:
        trainer = _FusionTrainer(store, config, folds, budget, fusion, progress)
        aligned = [
            alignment.aligned_features(
                alignment.load_projections(config.after / f"projection-{fold.name.replace(' ', '-')}.npz"),
                raw,
                memory_gib=config.memory_gib / len(folds),
                folder=config.out,
                say=console.print,
            )
            for fold in folds
        ]
        trials = {"aligned": trainer.run("aligned", aligned), "raw": trainer.run("raw", [raw] * len(folds))}
        conditions = {name: trial.predictions for name, trial in trials.items()}
        if config.ablations:
            plain = replace(trainer, budget=replace(budget, ranking=0.0))
            conditions["aligned, without ranking loss"] = plain.fusion_alone("no-ranking", aligned)
            conditions |= trainer.views(pair, rows, config.memory_gib)
    predictions = final_predictions(trials["aligned"], trials["raw"], fusion)
    trial = replace(trials["aligned"], predictions=predictions)
    specific, mean_specific = tables.correlation_table(predictions, (FINAL_FUSION, PHASE4_BEST_SINGLE), "specific")
    plain_table, mean_plain = tables.correlation_table(predictions, (FINAL_FUSION, PHASE4_BEST_SINGLE), "plain")
    found = gain(predictions, FINAL_FUSION, PHASE4_BEST_SINGLE)
    literal = gain(predictions, FINAL_FUSION, PHASE4_BEST_SINGLE, kind="plain")
    results: dict[str, Any] = {
        "phase": 4,
        "store": about_store(store),
        "pair": pair,
        "budget": budget.fit_config(max(len(f.train) for f in folds)).to_json(),
        "after": {"run": config.after.name, "verdict": before.verdict},
        "judged": {"rows": len(rows), "pieces": len(predictions.pieces), "folds": len(folds)},
        "fusion": fusion,
        "specific": specific,
        "plain": plain_table,
        "mean": {"specific": mean_specific, "plain": mean_plain},
        "technical": group_mean(predictions, FINAL_FUSION, TECHNICAL),
        "gain": {"specific": found, "literal": literal},
        "overall": overall_beside_mean(predictions, FINAL_FUSION),
        "ablations": ablation_table(conditions, fusion),
        "uncertainty": coverage(trials["aligned"], trials["raw"], fusion, predictions),
        "history": trials["aligned"].fits[0].history,
        "machine": machine(),
        "seconds": round(time.perf_counter() - started, 1),
    }
    write_json(config.out / "results.json", results)
    save_predictions(config.out, trial)
    names = ("results.json", PREDICTIONS)
    rests_on = {"store": store.fingerprint} | {name: sha256_of(config.out / name) for name in names}
    tiered = results["store"]["profile"] == "tiered"
    gate = make_gate(
        4, phase4_criteria(results), literal_criteria(results), rests_on, overrides=overrides, literal_only=tiered
    )
    write_gate(config.out, gate)
    report = render(config.out)
    console.print(f"Phase 4: {gate.verdict}. {gate.headline}")
    console.print(f"report: {report}", soft_wrap=True)
    return report


@dataclass(frozen=True)
class _FusionTrainer:
    """Trains audio only, MIDI only and the fusion under one budget on whatever features it is given."""

    store: Store
    config: Phase4Config
    folds: list[Fold]
    budget: Budget
    fusion: str
    progress: Listener

    def run(self, name: str, features: list[Features]) -> CrossValidation:
        """One trial over all folds, each with its own features."""
        heads = head_configs((*SINGLES, self.fusion), self.budget.hidden, "frames")
        return merge_folds(
            [
                cross_validate(
                    of_fold,
                    [fold],
                    heads,
                    self.budget,
                    fingerprint=self.store.fingerprint,
                    n_train_rows=self.largest,
                    checkpoints=self.checkpoints(name, number),
                    progress=self.progress,
                )
                for number, (fold, of_fold) in enumerate(zip(self.folds, features, strict=True))
            ]
        )

    def fusion_alone(self, name: str, features: list[Features], inputs: str = "frames") -> Predictions:
        """What the fusion says out of fold; for an ablation no single modality and no swap is needed."""
        heads = head_configs((self.fusion,), self.budget.hidden, inputs)
        said = []
        for number, (fold, of_fold) in enumerate(zip(self.folds, features, strict=True)):
            config = self.budget.fit_config(self.largest, self.checkpoints(name, number) / "fold-1")
            data = FoldData(of_fold, fold.train, fold.validation, config.batch_rows, self.largest)
            fit = train.fit(heads, data, config, store=self.store.fingerprint, progress=self.progress)
            said.append(fitted.predict(fit, of_fold.batches(fold.test, config.batch_rows))[self.fusion])
        positions = np.concatenate([fold.test for fold in self.folds])
        order = np.argsort(positions, kind="stable")
        of_fold_number = np.concatenate([np.full(len(fold.test), i) for i, fold in enumerate(self.folds)])
        predictions = scored_rows(
            features[0].rows.take(positions[order]), {self.fusion: np.concatenate(said, axis=1)[:, order]}
        )
        return replace(predictions, fold=of_fold_number[order] if len(self.folds) > 1 else None)

    @property
    def largest(self) -> int:
        """Training rows of the largest fold."""
        return max(len(fold.train) for fold in self.folds)

    def checkpoints(self, name: str, number: int) -> Path:
        """Where a condition's fold goes on after an interruption."""
        return self.config.out / "checkpoints" / name / str(number)

    def views(self, pair: dict[str, str], rows: Rows, memory_gib: float) -> dict[str, Predictions]:
        """Layers, and the derived views that the store holds."""
        found = {}
        for kind in ("layers", "pooled", "pca128", "pca64", "int8"):
            view = View(pair["audio"], pair["midi"], kind)
            try:
                features = Features(self.store, view, rows, memory_gib=memory_gib)
            except NoSuchFeature:
                continue  # not derived: the table says which views it has
            found[f"raw, {kind}"] = self.fusion_alone(kind, [features] * len(self.folds), view.inputs)
        return found


def final_predictions(aligned: CrossValidation, raw: CrossValidation, fusion: str) -> Predictions:
    """The final fusion and the best single modality, each from aligned or raw features as validation said in its fold."""
    predictions = aligned.predictions
    fold = np.zeros(len(predictions.tier), np.int64) if predictions.fold is None else predictions.fold
    final = np.zeros_like(predictions.by_model[fusion])
    single = np.zeros_like(final)
    for f, (a, r) in enumerate(zip(aligned.choices, raw.choices, strict=True)):
        rows = fold == f
        sides = ((a, aligned), (r, raw))
        best = max(sides, key=lambda side: side[0].validation[fusion])
        final[:, rows] = best[1].predictions.by_model[fusion][:, rows]
        name, _, side = max(
            ((name, choice.validation[name], trial) for choice, trial in sides for name in SINGLES), key=lambda c: c[1]
        )
        single[:, rows] = side.predictions.by_model[name][:, rows]
    return replace(predictions, by_model={**predictions.by_model, FINAL_FUSION: final, PHASE4_BEST_SINGLE: single})


def group_mean(predictions: Predictions, name: str, dimensions: tuple[str, ...]) -> Interval:
    """Mean specific r over some dimensions."""
    correlations = Correlations(predictions.only((name,)), "specific")
    at = [AXIS_DIMENSIONS.index(d) for d in dimensions]
    found: Interval = intervals(
        lambda p, s: over_dimensions(over_seeds(correlations(p), s)[:, at]), correlations.n_pieces, correlations.n_seeds
    )[0]
    return found


def overall_beside_mean(predictions: Predictions, name: str) -> dict[str, float | None]:
    """Plain r of the predicted overall score, and of the mean of the seven predictions in its place."""
    said = predictions.by_model[name].mean(axis=0)
    rows = predictions.valid[:, -1]
    mean = said[:, : len(AXIS_DIMENSIONS)].mean(axis=1)

    def r(x: NDArray[np.floating]) -> float:
        return float(np.corrcoef(x[rows], predictions.score[rows, -1])[0, 1])

    return {"predicted": r(said[:, -1]), "mean_of_seven": r(mean)}


def ablation_table(conditions: dict[str, Predictions], fusion: str) -> dict[str, Interval]:
    """Mean specific r of the fusion under every condition."""
    return {name: tables.correlation_table(j, (fusion,), "specific")[1][fusion] for name, j in conditions.items()}


def coverage(aligned: CrossValidation, raw: CrossValidation, fusion: str, predictions: Predictions) -> dict[str, Any]:
    """Split-conformal intervals: half-width from validation residuals, share of judged rows inside, for each dimension.

    Angelopoulos and Bates, A gentle introduction to conformal prediction (2021), section 1; residuals of the mean over
    seeds, quantile ceil((n + 1) × 0.90) / n.
    """
    fold = np.zeros(len(predictions.tier), np.int64) if predictions.fold is None else predictions.fold
    inside = np.full(predictions.score.shape, np.nan)
    width = np.full((len(aligned.choices), len(DIMENSIONS)), np.nan)
    for f, (a, r) in enumerate(zip(aligned.choices, raw.choices, strict=True)):
        validation = (aligned if a.validation[fusion] >= r.validation[fusion] else raw).validation[f]
        rows = np.flatnonzero(fold == f)
        said = predictions.by_model[FINAL_FUSION].mean(axis=0)[rows]
        for k in range(len(DIMENSIONS)):
            known = validation.valid[:, k]
            residual = np.abs(validation.by_model[fusion].mean(axis=0)[known, k] - validation.score[known, k])
            if len(residual) < 10:
                continue
            level = min(1.0, np.ceil((len(residual) + 1) * COVERAGE) / len(residual))
            width[f, k] = np.quantile(residual, level)
            judgeable = predictions.valid[rows, k]
            hit = np.abs(said[:, k] - predictions.score[rows, k]) <= width[f, k]
            inside[rows[judgeable], k] = hit[judgeable]
    return {
        "asked": COVERAGE,
        "dimensions": {
            d: {"half_width": _mean(width[:, k]), "coverage": _mean(inside[:, k])} for k, d in enumerate(DIMENSIONS)
        },
    }


def _mean(values: NDArray[np.floating]) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else None


def phase4_criteria(results: dict[str, Any]) -> list[Criterion]:
    """Technical, interpretive, gain."""
    table: dict[str, Interval] = results["specific"][FINAL_FUSION]
    worst = min(TECHNICAL, key=lambda d: np.nan_to_num(table[d].value, nan=-1))
    listed = ", ".join(f"{d.split('_')[0]} {table[d].value:.2f}" for d in TECHNICAL)
    found = results["gain"]["specific"]
    return [
        more_than("technical, mean of four", results["technical"], TECHNICAL_MEAN, f"specific r: {listed}"),
        more_than("technical, each", table[worst], TECHNICAL_EACH, f"weakest: {worst.replace('_', ' ')}"),
        more_than("interpretive: musical_expression", table["musical_expression"], INTERPRETIVE, "specific r"),
        at_least("fusion gain over the best single modality", found.relative, GAIN, found.arithmetic, above_zero=True),
    ]


def literal_criteria(results: dict[str, Any]) -> list[Criterion]:
    """The plan's targets in plain r."""
    table: dict[str, Interval] = results["plain"][FINAL_FUSION]
    nothing = float("nan")
    technical = Interval(float(np.nanmean([table[d].value for d in TECHNICAL])), nothing, nothing)
    interpretive = Interval(float(np.nanmean([table[d].value for d in DIMENSIONS[6:]])), nothing, nothing)
    found = results["gain"]["literal"]
    return [
        more_than("literal: technical r", technical, 0.50, "mean plain r of the four"),
        more_than("literal: interpretive r", interpretive, 0.35, "mean plain r of the two"),
        at_least("literal: fusion beats best single", found.relative, GAIN, f"plain r: {found.arithmetic}"),
    ]
