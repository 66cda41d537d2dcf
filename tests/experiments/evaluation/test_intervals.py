"""Coverage on simulated clustered data, and correlations against reference implementations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from keybed.experiments.evaluation.fusion_gain import gain
from keybed.experiments.evaluation.intervals import Interval, intervals, resample
from keybed.experiments.evaluation.predictions import Correlations, Predictions, over_dimensions, over_seeds
from keybed.heads import metrics


def simulate(
    rng: np.random.Generator, n_pieces: int, n_seeds: int, *, rows: int = 20, edge: float = 0.6, seed_sd: float = 0.05
) -> Predictions:
    """Two models whose knowledge varies by piece, by seed and by row; the second knows 0.5, the first `edge`."""
    n = n_pieces * rows
    piece = np.repeat(np.arange(n_pieces), rows).astype(np.int32)
    score = rng.normal(75, 12, (n, 8))
    z = (score - 75) / 12
    by_model = {}
    for name, knows in (("first", edge), ("second", 0.5)):
        by_piece = 0.4 * rng.normal(size=(n_pieces, 8))[piece] + 0.3 * rng.normal(size=(n_pieces, 8))[piece] * z
        own = knows * z + by_piece + rng.normal(size=(n, 8))
        each = 0.5 * rng.normal(size=(n_seeds, n, 8)) + seed_sd * rng.normal(size=(n_seeds, 1, 1)) * z
        by_model[name] = (own + each).astype(np.float32)
    return Predictions(
        by_model,
        score.astype(np.float32),
        np.ones((n, 8), bool),
        np.tile([0, 1, 2, 3], n // 4).astype(np.uint8),
        np.repeat(np.arange(n // 4), 4).astype(np.int32),
        piece,
        np.zeros((n, 6), np.float32),
    )


def _statistic(predictions: Predictions):  # type: ignore[no-untyped-def]
    correlations = Correlations(predictions, "specific")

    def values(pieces, seeds):  # type: ignore[no-untyped-def]
        mean = over_dimensions(over_seeds(correlations(pieces), seeds))
        return np.column_stack([mean, (mean[:, 0] - mean[:, 1]) / mean[:, 1]])

    return values


def test_specific_r_equals_the_heads_own_and_a_residual_by_hand() -> None:
    rng = np.random.default_rng(0)
    predictions = simulate(rng, 9, 2)
    score = predictions.score @ (0.7 * np.eye(8) + 0.05)
    valid = rng.random(score.shape) < 0.85
    predictions = Predictions(
        predictions.by_model,
        score.astype(np.float32),
        valid,
        predictions.tier,
        predictions.segment,
        predictions.piece,
        predictions.difficulty,
    )
    r = Correlations(predictions, "specific")(np.ones((1, 9)))[0]
    rows = predictions.tier > 0
    for n, name in enumerate(predictions.names):
        for s in range(2):
            expected = metrics.specific_r(predictions.by_model[name][s][rows], predictions.score[rows], valid[rows])
            np.testing.assert_allclose(r[:, n, s], np.array(expected[:7], float), atol=1e-6)

    complete = Predictions(
        predictions.by_model,
        predictions.score,
        np.ones_like(valid),
        predictions.tier,
        predictions.segment,
        predictions.piece,
        predictions.difficulty,
    )
    controls = np.column_stack([np.ones(rows.sum()), np.delete(predictions.score[rows, :7].astype(float), 3, axis=1)])
    left = [
        x - controls @ np.linalg.lstsq(controls, x, rcond=None)[0]
        for x in (predictions.by_model["first"][0][rows, 3].astype(float), predictions.score[rows, 3].astype(float))
    ]
    by_hand = np.corrcoef(left)[0, 1]
    assert Correlations(complete, "specific")(np.ones((1, 9)))[0, 3, 0, 0] == pytest.approx(by_hand, abs=1e-6)


def test_plain_and_within_tier_r_equal_the_heads_own() -> None:
    predictions = simulate(np.random.default_rng(1), 6, 1)
    ones = np.ones((1, 6))
    plain, within = (Correlations(predictions, kind)(ones)[0, :, 0, 0] for kind in ("plain", "within_tier"))
    first = predictions.by_model["first"][0]
    np.testing.assert_allclose(
        plain, [metrics.pearson(first[:, k], predictions.score[:, k]) for k in range(8)], atol=1e-6
    )
    centred = [by_tier(x.astype(np.float64), predictions.tier) for x in (first, predictions.score)]
    expected = [metrics.pearson(centred[0][:, k], centred[1][:, k]) for k in range(8)]
    np.testing.assert_allclose(within, np.array(expected, float), atol=1e-6)


def by_tier(values: np.ndarray, tier: np.ndarray) -> np.ndarray:
    """Values (row, dimension) minus their tier's means."""
    means = np.array([values[tier == t].mean(0) for t in range(4)])
    return values - means[tier]


def test_within_tier_r_gives_nothing_to_the_tier() -> None:
    rng = np.random.default_rng(1)
    tier = np.arange(400) % 4
    score = (97.5 - 12 * tier)[:, None] + np.where(tier > 0, 3.0, 0.0)[:, None] * rng.normal(size=(400, 8))
    tier_only = np.repeat(-tier[:, None], 8, axis=1).astype(float)
    assert metrics.pearson(tier_only[:, 0], score[:, 0]) > 0.9  # type: ignore[operator]
    prediction = score + rng.normal(size=score.shape)
    models = {"tier only": tier_only, "the score": score, "near": prediction}
    predictions = Predictions(
        {name: values[None].astype(np.float32) for name, values in models.items()},
        score.astype(np.float32),
        np.ones_like(score, bool),
        tier.astype(np.uint8),
        np.repeat(np.arange(100), 4).astype(np.int32),
        np.repeat(np.arange(4), 100).astype(np.int32),
        np.zeros((400, 6), np.float32),
    )
    r = Correlations(predictions, "within_tier")(np.ones((1, 4)))[0, :, :, 0]
    assert np.isnan(r[:, 0]).all()
    np.testing.assert_allclose(r[:, 1], 1.0)
    rows = tier > 0  # pristine labels are constant: these rows add nothing
    centred = [by_tier(v, tier)[:, 0] for v in (prediction, score)]
    expected = stats.pearsonr(centred[0][rows], centred[1][rows])[0]
    assert r[0, 2] == pytest.approx(expected, abs=1e-6)


def test_weights_are_repetitions() -> None:
    predictions = simulate(np.random.default_rng(2), 5, 1)
    weights = np.array([[2.0, 0, 1, 1, 1]])
    rows = np.concatenate([np.flatnonzero(predictions.piece == p) for p in (0, 0, 2, 3, 4)])
    repeated = metrics.specific_r(
        predictions.by_model["first"][0][rows][predictions.tier[rows] > 0],
        predictions.score[rows][predictions.tier[rows] > 0],
        predictions.valid[rows][predictions.tier[rows] > 0],
    )
    np.testing.assert_allclose(
        Correlations(predictions, "specific")(weights)[0, :, 0, 0], np.array(repeated[:7], float), atol=1e-5
    )


def test_seed_resampling_has_the_variance_of_a_mean_of_seeds() -> None:
    _, seeds = resample(10, 5, 40_000, seed=0)
    x = np.array([0.0, 1.0, 4.0, 2.0, 7.0])
    assert (seeds @ x / seeds.sum(1)).var() == pytest.approx(x.var(ddof=1) / 5, rel=0.03)


def coverage(n_pieces: int, runs: int, seed: int) -> np.ndarray:
    """Share of runs whose interval holds the truth: two mean specific r's and their relative gain."""
    rng = np.random.default_rng(seed)
    whole = simulate(rng, 8000, 1, seed_sd=0.0)
    truth = _statistic(whole)(np.ones((1, 8000)), np.ones((1, 1)))[0]
    held = np.zeros((runs, 3), bool)
    for i in range(runs):
        estimates = intervals(_statistic(simulate(rng, n_pieces, 5)), n_pieces, 5, replicates=800, seed=i)
        held[i] = [v.low <= t <= v.high for v, t in zip(estimates, truth, strict=True)]
    return held.mean(0)


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("n_pieces", [6, 12, 20, 40, 80])
def test_intervals_cover_the_truth(n_pieces: int) -> None:
    """92 to 97 % from 40 pieces on; fewer may miss by a little more, and -rP prints by how much."""
    runs = 1000
    slack = 2 * np.sqrt(0.95 * 0.05 / runs)
    held = coverage(n_pieces, runs, seed=n_pieces)
    print(f"{n_pieces} pieces: r {held[0]:.3f} and {held[1]:.3f}, relative gain {held[2]:.3f}; {runs} runs")
    least, most = (0.92, 0.97) if n_pieces >= 40 else (0.90, 0.99)
    assert (held > least - slack / 2).all(), held
    assert (held < most + slack).all(), held


@pytest.mark.long
@pytest.mark.slow
def test_no_true_gain_seldom_says_go() -> None:
    """The first model is as good as the second: a gain of ten per cent with a lower bound above zero is chance."""
    rng = np.random.default_rng(5)
    n_go = 0
    for i in range(300):
        relative = gain(simulate(rng, 40, 5, edge=0.5), "first", "second", seed=i).relative
        n_go += relative.value >= 0.10 and relative.above_zero
    print(f"no true gain: GO in {n_go} of 300 runs")
    assert n_go / 300 <= 0.05


def test_no_true_gain_says_go_at_most_once_in_twenty() -> None:
    rng = np.random.default_rng(6)
    gains = [
        intervals(_statistic(simulate(rng, 40, 3, edge=0.5, rows=12)), 40, 3, replicates=300, seed=i)[2]
        for i in range(40)
    ]
    assert np.mean([v.value >= 0.10 and v.above_zero for v in gains]) <= 0.05


def test_an_interval_needs_two_pieces() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        intervals(lambda p, s: np.ones((len(p), 1)), 1, 3)


def test_a_value_that_exists_nowhere_has_no_bounds_and_disturbs_no_other() -> None:
    x = np.random.default_rng(0).normal(size=12)

    def with_nothing(pieces, seeds):  # type: ignore[no-untyped-def]
        mean = pieces @ x / pieces.sum(1)
        return np.column_stack([mean, np.full(len(pieces), np.nan)])

    known, nothing = intervals(with_nothing, 12, 1)
    alone = intervals(lambda pieces, seeds: (pieces @ x / pieces.sum(1))[:, None], 12, 1)[0]
    assert known == alone
    assert np.isnan([nothing.value, nothing.low, nothing.high]).all()


def test_an_interval_is_kept_within_what_its_statistic_can_reach() -> None:
    assert Interval(0.1, -0.02, 1.3).within(0, 1) == Interval(0.1, 0.0, 1.0)
    unknown = Interval(0.1, float("nan"), float("nan")).within(0, 1)
    assert np.isnan([unknown.low, unknown.high]).all()
