"""Which pairs count as equal in tone, and what is asked of new and of old runs."""

from __future__ import annotations

import numpy as np

from keybed.experiments.evaluation.intervals import Interval
from keybed.experiments.evaluation.ordering import Pairs, tone_equal
from keybed.experiments.phases.phase2_criteria import ordering_criteria


def test_pairs_are_equal_in_tone_only_where_both_scores_are_the_same() -> None:
    pairs = Pairs(np.arange(4), np.arange(4), np.zeros((4, 2), np.int64), np.array([0.0, 0.1, 0.0, 12.0]))
    assert tone_equal(pairs, np.array([True, True, False, True])).tolist() == [True, False, False, False]


def accuracy(word: str) -> dict[str, Interval]:
    keys = ("pristine>poor", "pristine>moderate", "good>moderate", f"pristine>poor, tone {word}")
    return {key: Interval(0.8, 0.7, 0.9) for key in (*keys, f"pristine>moderate, tone {word}")}


def test_good_over_moderate_is_asked_of_new_runs_and_old_runs_keep_their_criteria() -> None:
    asked = {c.name: c.bound for c in ordering_criteria(accuracy("equal"))}
    assert asked == {
        "pristine over poor": 0.90,
        "pristine over poor, tone equal": 0.90,
        "pristine over moderate": 0.75,
        "pristine over moderate, tone equal": 0.75,
        "good over moderate": 0.65,
    }
    assert [c.name for c in ordering_criteria(accuracy("alike"))] == [
        "pristine over poor",
        "pristine over poor, tone alike",
        "pristine over moderate",
        "pristine over moderate, tone alike",
    ]
