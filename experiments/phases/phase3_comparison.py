"""Phase 3's comparisons: aligned heads beside Phase 2's raw ones, and what a ridge probe keeps on aligned frames."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.evaluation.cross_validation import CrossValidation, scored_rows
from keybed.experiments.evaluation.intervals import intervals
from keybed.experiments.evaluation.model_names import ALL_HEADS, PHASE3_BEST_SINGLE, RAW, SINGLES
from keybed.experiments.evaluation.phase2_results import Chosen
from keybed.experiments.evaluation.phase3_results import Retention
from keybed.experiments.evaluation.predictions import Correlations, Predictions, over_dimensions, over_seeds
from keybed.experiments.evaluation.ridge_probe import MOST_ROWS
from keybed.experiments.evaluation.saved_predictions import SavedPredictions


def with_raw_models(aligned: CrossValidation, raw: SavedPredictions, raw_choices: Chosen) -> Predictions:
    """Aligned heads, Phase 2's raw heads, and the best single modality of both kinds as validation chose in each fold."""
    predictions = aligned.predictions
    fold = np.zeros(len(predictions.tier), np.int64) if predictions.fold is None else predictions.fold
    by_model = {**predictions.by_model, **{f"{RAW}{name}": raw.by_model[name] for name in ALL_HEADS}}
    single = np.zeros_like(by_model["audio"])
    for f, (ours, theirs) in enumerate(zip(aligned.choices, raw_choices.each_fold, strict=True)):
        validation = {name: ours.validation[name] for name in SINGLES}
        validation |= {f"{RAW}{name}": theirs.validation[name] for name in SINGLES}
        best = max(validation, key=lambda name: validation[name])
        single[:, fold == f] = by_model[best][:, fold == f]
    return replace(predictions, by_model={**by_model, PHASE3_BEST_SINGLE: single})


def retention(by_fold: list[dict[str, NDArray[np.float32]]], result: CrossValidation) -> Retention:
    """Mean specific r of the ridge probe on projections ÷ on raw features, over the test rows of all folds."""
    positions = np.concatenate([f.test[:MOST_ROWS] for f in result.folds])
    order = np.argsort(positions, kind="stable")
    by_model = {n: np.concatenate([part[n] for part in by_fold])[order][None] for n in ("raw", "aligned")}
    at = np.searchsorted(np.sort(np.concatenate([f.test for f in result.folds])), positions[order])
    fold = None if result.predictions.fold is None else result.predictions.fold[at]
    correlations = Correlations(replace(scored_rows(result.rows.take(at), by_model), fold=fold), "specific")

    def statistic(pieces: NDArray[np.float64], seeds: NDArray[np.float64]) -> NDArray[np.float64]:
        mean = over_dimensions(over_seeds(correlations(pieces), seeds))
        ratio = np.divide(mean[:, 1], mean[:, 0], out=np.full(len(mean), np.nan), where=mean[:, 0] > 0.02)
        return np.column_stack([mean, ratio])

    return Retention(*intervals(statistic, correlations.n_pieces, 1))
