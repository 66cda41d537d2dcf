"""All numbers of Phase 2: from the predictions of test rows and the trained heads to the fields of results.json."""

from __future__ import annotations

import numpy as np

from keybed.experiments.data.features import Features
from keybed.experiments.evaluation import inspection, ordering, tables
from keybed.experiments.evaluation.cross_validation import CrossValidation
from keybed.experiments.evaluation.fusion_gain import gains, reading
from keybed.experiments.evaluation.model_names import ALL_HEADS, BEST_FUSION, BEST_SINGLE, SPECIALISTS, TIER_SHORTCUT
from keybed.experiments.evaluation.model_selection import most_often
from keybed.experiments.evaluation.phase2_results import (
    Chosen,
    EvaluatedRows,
    Evaluation,
    MeanR,
    OnTestSplit,
    TableWithMean,
)
from keybed.experiments.evaluation.predictions import Kind
from keybed.experiments.evaluation.residuals import error_pairs
from keybed.store.counted import counted

SHOWN = (*ALL_HEADS, SPECIALISTS)
CHOSEN = (BEST_FUSION, BEST_SINGLE)
"""Models whose gain the gate asks for; chosen in each fold, so that their r is no single head's."""


def evaluate(result: CrossValidation) -> Evaluation:
    """Every number about the predictions of the test rows that a report shows."""
    predictions = result.predictions
    names = tuple(name for name in SHOWN if name in predictions.names)
    specific, mean_specific = tables.correlation_table(predictions, (*names, *CHOSEN), "specific")
    plain, mean_plain = tables.correlation_table(predictions, (*names, *CHOSEN, TIER_SHORTCUT), "plain")
    within, mean_within = tables.correlation_table(predictions, names, "within_tier")
    floor = plain.pop(TIER_SHORTCUT)
    fusion_gains = gains(predictions)
    swap, swap_by_dimension = tables.swap_losses(predictions)
    n_folds = len(result.folds)
    return Evaluation(
        rows=EvaluatedRows(
            rows=len(predictions.tier),
            pieces=len(predictions.pieces),
            segments=len(np.unique(predictions.segment)),
            how="test split" if n_folds == 1 else f"out of fold, {counted(n_folds, 'fold')} by piece",
            folds=n_folds,
        ),
        chosen=Chosen(
            most_often([c.single for c in result.choices]),
            most_often([c.fusion for c in result.choices]),
            result.choices,
        ),
        specific=specific,
        plain=plain,
        within_tier=within,
        mean=MeanR(mean_specific, mean_plain, mean_within),
        tier_floor=floor,
        points=tables.point_table(predictions, names),
        gain=fusion_gains,
        reading=reading(fusion_gains),
        swap=swap,
        swap_by_dimension=swap_by_dimension,
        ordering={name: ordering.ordering(predictions, name) for name in (*names, BEST_FUSION)},
        difficulty=ordering.Difficulty(
            ordering.difficulty_slopes(predictions, BEST_FUSION),
            tuple(ordering.ordering_by_difficulty(predictions, BEST_FUSION)),
        ),
        audit=tables.audit(predictions, names),
        label_correlation=tables.label_correlation(predictions),
        pairwise=TableWithMean(*tables.pairwise_table(predictions, (*names, *CHOSEN))),
        errors=error_pairs(predictions, BEST_FUSION),
    )


def evaluate_test_split(result: CrossValidation) -> OnTestSplit:
    """Plain and specific r on the store's test split alone, without bounds where it has a single piece."""
    predictions = result.predictions
    names = tuple(name for name in SHOWN if name in predictions.names)
    pieces = len(predictions.pieces)

    def both(kind: Kind) -> TableWithMean:
        make = tables.correlation_table if pieces > 1 else tables.point_correlations
        return TableWithMean(*make(predictions, names, kind))

    return OnTestSplit(len(predictions.tier), pieces, both("plain"), both("specific"))


def inspect(result: CrossValidation, features: Features) -> inspection.Inspection:
    """Inspect the first fold's heads on its test rows."""
    fit, fold = result.fits[0], result.folds[0]
    shown = inspection.sample(fold.test)
    return inspection.Inspection(
        attention=inspection.attention(fit, "cross", features, shown),
        gate=inspection.gate_weights(fit, features, shown),
        spaces=inspection.spaces(features, inspection.sample(fold.train), shown),
        state_weights=inspection.state_weights(fit, features, shown, "cross"),
    )
