import dataclasses

import numpy as np
import pytest

from keybed.experiments.listening.presentation_order import presentations
from keybed.experiments.listening.selection import _candidates
from keybed.experiments.listening.stratified_sample import (
    SampleRefused,
    draw,
    label_correlations,
    shares_of_ranges,
    thirds_of_uncertainty,
)


@pytest.fixture(scope="module")
def candidates(make_rows):
    return _candidates(make_rows(), None)


def test_labels_come_out_uncorrelated_spread_and_hardly_pristine(candidates) -> None:
    chosen = draw(candidates, 150, np.random.default_rng(0))
    score, valid = candidates.score, candidates.valid
    before, after = (label_correlations(score[i], valid[i]) - np.eye(7) for i in (slice(None), chosen))
    assert np.abs(before).max() > 0.25  # what makes halo look like judgement
    assert np.abs(after).max() < 0.15
    assert candidates.pristine[chosen].mean() <= 0.15
    assert np.unique(candidates.segment[chosen]).size == 150
    assert np.unique(candidates.piece[chosen], return_counts=True)[1].max() <= 8
    for k in range(7):
        cells = np.histogram(score[chosen, k], [0, 60, 70, 80, 90, 100])[0] / 150
        assert cells.min() > 0.08


def test_the_same_seed_draws_the_same_and_another_one_others(candidates) -> None:
    first, again, other = (draw(candidates, 60, np.random.default_rng(s)) for s in (1, 1, 2))
    assert first.tolist() == again.tolist()
    assert set(first) != set(other)


def test_sure_and_unsure_clips_both_come(candidates) -> None:
    unsure = np.argsort(np.argsort(np.random.default_rng(0).random(candidates.piece.size))) / candidates.piece.size
    chosen = draw(dataclasses.replace(candidates, unsure=unsure), 90, np.random.default_rng(0))
    assert np.histogram(unsure[chosen], [0, 1 / 3, 2 / 3, 1])[0].min() >= 25


def test_a_sample_that_cannot_keep_its_promise_is_refused(candidates) -> None:
    with pytest.raises(SampleRefused, match="smaller --n"):
        draw(candidates, 401, np.random.default_rng(0))
    one_number = dataclasses.replace(candidates, score=np.repeat(candidates.score[:, :1], 7, axis=1))
    with pytest.raises(SampleRefused, match="correlated"):
        draw(one_number, 30, np.random.default_rng(0))


def test_labels_that_stay_correlated_are_named(candidates) -> None:
    score = candidates.score.copy()
    score[:, 3] = score[:, 2]
    with pytest.raises(SampleRefused, match="labels of articulation clarity and pedal technique stay correlated"):
        draw(dataclasses.replace(candidates, score=score), 30, np.random.default_rng(0))


def test_label_correlations_are_numpys_where_nothing_is_missing() -> None:
    x = np.random.default_rng(0).normal(size=(50, 7))
    assert label_correlations(x, np.ones_like(x, bool)) == pytest.approx(np.corrcoef(x.T))


def test_every_rater_hears_all_clips_once_and_repeats_late() -> None:
    clips = [f"clip{i:04d}" for i in range(60)]
    orders = [presentations(["practice1"], clips, 12, np.random.default_rng([0, r])) for r in range(3)]
    for order in orders:
        assert order[0].role == "anchor"
        assert sorted(p.clip for p in order if p.role == "main") == clips
        presented = [p.clip for p in order]
        repeats = [i for i, p in enumerate(order) if p.role == "repeat"]
        assert len(repeats) == 12
        assert min(i - presented.index(order[i].clip) for i in repeats) >= 20
    assert len({tuple(p.clip for p in order) for order in orders}) == 3
    with pytest.raises(ValueError, match="at most 20"):
        presentations([], clips, 21, np.random.default_rng(0))


def test_shares_count_judgeable_rows_alone_and_doubt_falls_into_thirds() -> None:
    score = np.array([[55.0, 95.0], [65.0, 95.0], [65.0, 75.0], [99.0, 60.0]])
    valid = np.array([[True, True], [True, False], [True, True], [False, True]])
    shares = shares_of_ranges(score, valid)
    np.testing.assert_allclose(shares[:, 0], [1 / 3, 2 / 3, 0, 0, 0])
    np.testing.assert_allclose(shares[:, 1], [1 / 3, 0, 1 / 3, 0, 1 / 3])
    assert thirds_of_uncertainty(np.array([0.0, 0.32, 0.34, 0.99, 1.0])).tolist() == [2, 1, 2]
