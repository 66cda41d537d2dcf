"""Phase 4's comparisons: final predictions, the overall score, ablations, and conformal intervals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.evaluation import tables
from keybed.experiments.evaluation.cross_validation import CrossValidation
from keybed.experiments.evaluation.intervals import Interval
from keybed.experiments.evaluation.model_names import FINAL_FUSION, PHASE4_BEST_SINGLE, SINGLES
from keybed.experiments.evaluation.phase4_results import Coverage, OverallR, Uncertainty
from keybed.experiments.evaluation.predictions import Predictions
from keybed.store.format.vocabulary import AXIS_DIMENSIONS, DIMENSIONS

COVERAGE = 0.90
"""Nominal coverage of the conformal intervals."""


def final_predictions(aligned: CrossValidation, raw: CrossValidation, fusion: str) -> Predictions:
    """Add the final fusion and the best single modality, each on aligned or raw features as validation chose in its fold."""
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
            ((name, choice.validation[name], result) for choice, result in sides for name in SINGLES),
            key=lambda c: c[1],
        )
        single[:, rows] = side.predictions.by_model[name][:, rows]
    return replace(predictions, by_model={**predictions.by_model, FINAL_FUSION: final, PHASE4_BEST_SINGLE: single})


def overall_beside_mean(predictions: Predictions, name: str) -> OverallR:
    """Plain r of the predicted overall score, and of the mean of the seven other predictions in its place."""
    predicted = predictions.by_model[name].mean(axis=0)
    rows = predictions.valid[:, -1]
    mean = predicted[:, : len(AXIS_DIMENSIONS)].mean(axis=1)

    def r(x: NDArray[np.floating]) -> float:
        return float(np.corrcoef(x[rows], predictions.score[rows, -1])[0, 1])

    return OverallR(r(predicted[:, -1]), r(mean))


def ablation_table(conditions: dict[str, Predictions], fusion: str) -> dict[str, Interval]:
    """Mean specific r of the fusion under every condition."""
    return {name: tables.correlation_table(j, (fusion,), "specific")[1][fusion] for name, j in conditions.items()}


def coverage(aligned: CrossValidation, raw: CrossValidation, fusion: str, predictions: Predictions) -> Uncertainty:
    """Split-conformal intervals by dimension: half-width from validation residuals, share of test rows inside.

    Angelopoulos and Bates, A gentle introduction to conformal prediction (2021), section 1; residuals of the mean over
    seeds, quantile ceil((n + 1) × 0.90) / n.
    """
    fold = np.zeros(len(predictions.tier), np.int64) if predictions.fold is None else predictions.fold
    inside = np.full(predictions.score.shape, np.nan)
    width = np.full((len(aligned.choices), len(DIMENSIONS)), np.nan)
    for f, (a, r) in enumerate(zip(aligned.choices, raw.choices, strict=True)):
        validation = (aligned if a.validation[fusion] >= r.validation[fusion] else raw).validation[f]
        rows = np.flatnonzero(fold == f)
        predicted = predictions.by_model[FINAL_FUSION].mean(axis=0)[rows]
        for k in range(len(DIMENSIONS)):
            known = validation.valid[:, k]
            residual = np.abs(validation.by_model[fusion].mean(axis=0)[known, k] - validation.score[known, k])
            if len(residual) < 10:
                continue
            level = min(1.0, np.ceil((len(residual) + 1) * COVERAGE) / len(residual))
            width[f, k] = np.quantile(residual, level)
            valid = predictions.valid[rows, k]
            hit = np.abs(predicted[:, k] - predictions.score[rows, k]) <= width[f, k]
            inside[rows[valid], k] = hit[valid]
    by_dimension = {d: Coverage(_mean(width[:, k]), _mean(inside[:, k])) for k, d in enumerate(DIMENSIONS)}
    return Uncertainty(COVERAGE, by_dimension)


def _mean(values: NDArray[np.floating]) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else None
