"""Ordering accuracy of pairs of variants, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from keybed.experiments.evaluation.ordering import ordering, pairs_within_segments
from keybed.experiments.evaluation.predictions import Predictions


def predicted(overall: list[float], segment: list[int], tier: list[int]) -> Predictions:
    """One model with these overall predictions; a segment is a piece, and each tier's score is lower than the one before."""
    prediction = np.zeros((1, len(overall), 8), np.float32)
    prediction[0, :, 7] = overall
    score = np.repeat(97.5 - 10 * np.array(tier, np.float32)[:, None], 8, axis=1)
    numbers = np.array(segment, np.int32)
    valid = np.ones_like(score, bool)
    return Predictions(
        {"model": prediction},
        score,
        valid,
        np.array(tier, np.uint8),
        numbers,
        numbers,
        np.zeros((len(tier), 6), np.float32),
    )


def test_ordering_counts_ties_half() -> None:
    accuracy = ordering(predicted([4.0, 3.0, 3.0, 1.0, 2.0, 5.0], [0, 0, 0, 0, 7, 7], [0, 1, 2, 3, 0, 3]), "model")
    assert accuracy["pristine>good"].value == 1.0
    assert accuracy["good>moderate"].value == 0.5
    assert accuracy["pristine>poor"].value == 0.5


def test_variants_of_different_segments_or_of_one_tier_are_no_pairs() -> None:
    apart = predicted([1.0, 2.0], [0, 1], [0, 3])
    assert len(pairs_within_segments(apart).better) == 0
    assert np.isnan(ordering(apart, "model")["pristine>poor"].value)
    assert len(pairs_within_segments(predicted([1.0, 2.0], [0, 0], [1, 1])).better) == 0


def test_the_better_variant_is_the_one_with_the_higher_score() -> None:
    reversed_scores = predicted([1.0, 2.0, 1.0, 2.0], [0, 0, 1, 1], [0, 3, 0, 3])
    reversed_scores.score[:, 7] = [60, 90, 60, 90]
    assert ordering(reversed_scores, "model")["pristine>poor"].value == pytest.approx(1.0)
