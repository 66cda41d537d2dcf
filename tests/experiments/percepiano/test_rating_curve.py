"""Rated passages against zero-shot predictions whose agreement with the ratings is set beforehand."""

import numpy as np
import pytest

from keybed.experiments.curve import ratings as curve
from keybed.experiments.curve.ratings import ENCODED, NOTES, QUESTIONS, compare
from keybed.experiments.percepiano.note_statistics import note_statistics
from keybed.store.format.vocabulary import DIMENSIONS


@pytest.fixture(scope="module")
def features(ratings):
    """Note statistics, and channels that say nothing."""
    notes = np.array([list(note_statistics(p).values()) for p in ratings.performances])
    return {NOTES: notes, ENCODED: np.random.default_rng(0).normal(size=(len(ratings), 6))}


def _perfect(ratings):
    predicted = np.zeros((len(ratings), len(DIMENSIONS)))
    for q in QUESTIONS:
        scales = [s - 1 for s in q.scales]
        predicted[:, DIMENSIONS.index(q.dimension)] = q.sign * ratings.rating[:, scales].mean(1)
    return predicted


def test_passages_beat_heads_that_know_nothing_and_no_number_beats_heads_that_know_all(
    ratings, features, monkeypatch
) -> None:
    monkeypatch.setattr(curve, "REPLICATES", 60)
    noise = np.random.default_rng(1).normal(size=(len(ratings), len(DIMENSIONS)))
    against_noise = compare(ratings, features, noise, "run", "gated", 0)
    assert [s.passages for s in against_noise.sizes] == [2, 4, 8, 10], "ten passages of two other compositions"
    assert [s.performances for s in against_noise.sizes] == [12, 24, 48, 60]
    assert against_noise.sizes[-1].trained[NOTES].value > 0.5, "ratings follow tempo and loudness"
    assert against_noise.beats_from[NOTES] in (2, 4, 8)
    assert against_noise.beats_from[ENCODED] is None
    against_all = compare(ratings, features, _perfect(ratings), "run", "gated", 0)
    assert against_all.zero_shot.value == pytest.approx(1.0)
    assert against_all.ahead_from == {NOTES: None, ENCODED: None}
    for size in against_all.sizes:
        assert size.over_zero_shot[NOTES].value == pytest.approx(size.trained[NOTES].value - 1)


def test_each_question_stands_once() -> None:
    assert len({q.dimension for q in QUESTIONS}) == len(QUESTIONS) == 5
