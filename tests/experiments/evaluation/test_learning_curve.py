"""Fitted learning curves, against curves whose numbers are known."""

import numpy as np
from scipy.optimize import curve_fit

from keybed.experiments.evaluation.learning_curve import (
    FARTHEST,
    extrapolate,
    fit_log_line,
    fit_power_law,
    needed,
)

N = np.array([20.0, 40.0, 80.0, 160.0, 320.0])


def test_an_exact_power_law_is_found_again() -> None:
    r = 0.7 - 0.2 * (N / N[-1]) ** -0.5
    law = fit_power_law(N / N[-1], r[None])
    np.testing.assert_allclose([law.a_B[0], law.b_B[0], law.c_B[0]], [0.2, 0.5, 0.7], atol=0.02)
    assert abs(law.at(4.0)[0] - 0.6) < 0.002
    assert abs(law.size_for(0.6)[0] - 4.0) < 0.1, "0.7 − 0.2 / √4 = 0.6"
    assert np.isinf(law.size_for(0.75)[0]), "the curve levels off below"


def test_a_noisy_curve_is_fitted_as_well_as_scipy_fits_it() -> None:
    noisy = 0.6 - 0.15 * (N / N[-1]) ** -0.4 + np.array([0.01, -0.01, 0.004, -0.003, 0.002])
    x = N / N[-1]
    best, _ = curve_fit(
        lambda n, a, b, c: c - a * n**-b, x, noisy, p0=(0.1, 0.5, 0.5), bounds=([0, 0.05, 0], [2, 2, 1])
    )
    ours = fit_power_law(x, noisy[None])
    error = ((ours.c_B[0] - ours.a_B[0] * x ** -ours.b_B[0] - noisy) ** 2).sum()
    theirs = ((best[2] - best[0] * x ** -best[1] - noisy) ** 2).sum()
    assert error < theirs * 1.02


def test_a_flat_or_falling_curve_has_no_gain_and_no_size() -> None:
    for r in (np.full(5, 0.4), np.linspace(0.5, 0.4, 5)):
        law = fit_power_law(N / N[-1], r[None])
        assert law.a_B[0] == 0
        assert np.isinf(law.size_for(0.5)[0])
        assert np.isinf(fit_log_line(N, r[None]).size_for(0.9)[0])


def test_a_limit_above_one_is_no_correlation() -> None:
    law = fit_power_law(N / N[-1], np.array([[0.1, 0.3, 0.5, 0.7, 0.9]]))
    assert law.c_B[0] <= 1.0


def test_the_log_line_gains_the_same_per_doubling() -> None:
    line = fit_log_line(N / N[-1], (0.5 + 0.05 * np.log2(N / N[-1]))[None])
    np.testing.assert_allclose([line.slope_B[0], line.level_B[0]], [0.05, 0.5])
    np.testing.assert_allclose(line.size_for(0.6), [4.0])


def test_the_interval_of_an_extrapolation_reaches_over_both_forms() -> None:
    rng = np.random.default_rng(0)
    r = 0.6 - 0.1 * (N / N[-1]) ** -0.7
    drawn = r + 0.01 * rng.standard_normal((400, 5))
    fitted = extrapolate(N, r, drawn)
    ahead = fitted.ahead["16"]
    law, line = fit_power_law(N / N[-1], drawn), fit_log_line(N / N[-1], drawn)
    assert ahead.low == min(np.quantile(law.at(16), 0.025), np.quantile(line.at(16), 0.025))
    assert ahead.high == max(np.quantile(law.at(16), 0.975), np.quantile(line.at(16), 0.975))
    assert ahead.low < 0.6 - 0.1 * 16**-0.7 < ahead.high
    assert fitted.backtest.low < fitted.observed.value < fitted.backtest.high


def test_a_target_is_reached_or_has_a_size_or_lies_too_far() -> None:
    r = 0.6 - 0.1 * (N / N[-1]) ** -0.7
    drawn = r + 0.002 * np.random.default_rng(0).standard_normal((200, 5))
    assert needed(N, r, drawn, 0.45).reached
    near = needed(N, r, drawn, 0.55)
    assert near.segments is not None
    assert abs(near.segments - 320 * 2 ** (1 / 0.7)) < 30, "half of the gap is left where n^0.7 = 2"
    assert near.low is not None
    assert near.low < near.segments
    far = needed(N, r, drawn, 0.95)
    assert (far.segments, far.high) == (None, None)
    assert FARTHEST == 64
