from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from keybed.heads import metrics

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=60), RNG.normal(size=60)
Y += 0.7 * X
KEEP = RNG.random(60) > 0.3


def test_pearson_and_spearman_are_scipys():
    ranks = np.round(X, 1)  # with ties
    assert metrics.pearson(X, Y) == pytest.approx(stats.pearsonr(X, Y)[0], abs=1e-12)
    assert metrics.pearson(X, Y, KEEP) == pytest.approx(stats.pearsonr(X[KEEP], Y[KEEP])[0], abs=1e-12)
    assert metrics.spearman(ranks, Y, KEEP) == pytest.approx(stats.spearmanr(ranks[KEEP], Y[KEEP])[0], abs=1e-12)


def test_ccc_r2_mae_closed_forms():
    s = np.array([1.0, 2.0, 3.0, 4.0])
    assert metrics.ccc(s, s) == 1.0
    assert metrics.ccc(s + 1, s) == pytest.approx(2 * 1.25 / (1.25 + 1.25 + 1))  # var 1.25, shift 1
    assert metrics.ccc(-s, s) == pytest.approx(-2 * 1.25 / (2.5 + 25))
    assert metrics.r2(s + 1, s) == pytest.approx(1 - 1 / 1.25)
    assert metrics.r2(np.full(4, 2.5), s) == pytest.approx(0.0)
    assert metrics.mae(s + np.array([1, -1, 2, -2]), s) == 1.5


def test_undefined_is_none():
    flat = np.full(10, 97.5)
    for metric in (metrics.pearson, metrics.spearman, metrics.ccc, metrics.r2):
        assert metric(RNG.normal(size=10), flat) is None
        assert metric(X[:2], Y[:2]) is None
    assert metrics.pearson(flat, Y[:10]) is None
    assert metrics.pearson(flat + 1e-13 * RNG.normal(size=10), Y[:10]) is None
    assert metrics.mae(X, Y, np.zeros(60, bool)) is None
    assert metrics.mean_defined([None, 1.0, 3.0]) == 2.0
    assert metrics.mean_defined([None]) is None


def test_masked_nan_is_never_looked_at():
    score = np.where(KEEP, Y, np.nan)
    assert metrics.pearson(X, score, KEEP) == pytest.approx(metrics.pearson(X[KEEP], Y[KEEP]), abs=1e-14)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.1, 50), st.floats(-100, 100))
def test_correlations_ignore_scale_and_weights_are_repetitions(seed, scale, shift):
    rng = np.random.default_rng(seed)
    x, y, times = rng.normal(size=20), rng.normal(size=20), rng.integers(0, 4, 20)
    times[:5] = 1
    assert metrics.pearson(scale * x + shift, y) == pytest.approx(metrics.pearson(x, y), abs=1e-9)
    repeated = np.repeat(x, times), np.repeat(y, times)
    for metric in (metrics.pearson, metrics.ccc, metrics.r2, metrics.mae):
        assert metric(x, y, weight=times) == pytest.approx(metric(*repeated), abs=1e-9)


def axis_world(n=400, seed=3):
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(n, 1))
    axes = rng.normal(size=(n, 7)) + 1.5 * common
    score = 75 + 5 * np.hstack([axes, axes.mean(1, keepdims=True)])
    return score, rng


def slow_partial(x, y, controls):
    design = np.column_stack([np.ones(len(x)), controls])
    left = [v - design @ np.linalg.lstsq(design, v, rcond=None)[0] for v in (x, y)]
    return stats.pearsonr(*left)[0]


def test_specific_r_is_the_partial_correlation():
    score, rng = axis_world()
    prediction = score + 10 * rng.normal(size=score.shape)
    r = metrics.specific_r(prediction, score, np.ones_like(score, bool))
    for k in range(7):
        others = np.delete(score[:, :7], k, axis=1)
        assert r[k] == pytest.approx(slow_partial(prediction[:, k], score[:, k], others), abs=1e-9)
    assert r[7] is None


def test_specific_r_sees_through_a_shortcut():
    """A predictor of what all dimensions share has a high r and no specific r."""
    score, rng = axis_world(n=4000)
    shared = np.repeat(score[:, 7:] + 0.1 * rng.normal(size=(4000, 1)), 8, axis=1)
    valid = np.ones_like(score, bool)
    assert min(metrics.per_dimension("pearson", shared, score, valid)) > 0.7
    own = score + rng.normal(size=score.shape)
    assert min(r for r in metrics.specific_r(own, score, valid)[:7]) > 0.9
    others_only = np.column_stack([np.delete(score[:, :7], k, 1).mean(1) for k in range(7)] + [score[:, 7]])
    noisy = others_only + 0.5 * rng.normal(size=score.shape)
    assert max(abs(r) for r in metrics.specific_r(noisy, score, valid)[:7]) < 0.06


def test_specific_r_with_invalid_rows():
    """Own mask drops rows; another axis's mask becomes its mean and an indicator."""
    score, rng = axis_world()
    prediction, valid = score + 5 * rng.normal(size=score.shape), np.ones_like(score, bool)
    valid[:, 3] = rng.random(len(score)) > 0.4
    hidden = np.where(valid, score, np.nan)
    r = metrics.specific_r(prediction, hidden, valid)
    keep = valid[:, 3]
    others = np.delete(score[:, :7], 3, axis=1)
    assert r[3] == pytest.approx(slow_partial(prediction[keep, 3], score[keep, 3], others[keep]), abs=1e-9)
    filled = np.where(keep, score[:, 3], score[keep, 3].mean())
    controls = np.column_stack([np.delete(score[:, :7], [0, 3], axis=1), filled, ~keep])
    assert r[0] == pytest.approx(slow_partial(prediction[:, 0], score[:, 0], controls), abs=1e-9)
    times = rng.integers(1, 3, len(score))
    repeated = metrics.specific_r(*(np.repeat(a, times, axis=0) for a in (prediction, hidden, valid)))
    assert metrics.specific_r(prediction, hidden, valid, times)[:7] == pytest.approx(repeated[:7], abs=1e-9)


def test_specific_r_undefined():
    score, rng = axis_world(n=50)
    valid = np.ones_like(score, bool)
    flat = score.copy()
    flat[:, 2] = 97.5
    assert metrics.specific_r(score, flat, valid)[2] is None
    tied = score.copy()
    tied[:, 1] = tied[:, 0]  # another axis says it all
    assert metrics.specific_r(score + rng.normal(size=score.shape), tied, valid)[0] is None
    assert metrics.specific_r(score[:5], score[:5], valid[:5])[:7] == [None] * 7
