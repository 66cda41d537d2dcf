import numpy as np
import pytest

from keybed.experiments.listening.rater_model import fit_raters


def planted(seed: int = 0, n: int = 300):
    random = np.random.default_rng(seed)
    quality = random.normal(0, 12, n)
    bias, drift, gain, noise = (
        np.array([60, 75, 50, 65.0]),
        np.array([0, -12, 0, 8.0]),
        np.array([1, 0.7, 1.3, 1.0]),
        np.array([4, 6, 8, 20.0]),
    )
    time = np.array([random.permutation(n) for _ in range(4)]).T / (n - 1)
    ratings = bias + drift * (time - 0.5) + gain * quality[:, None] + noise * random.normal(size=(n, 4))
    return quality, bias, drift, gain, noise, time, ratings


def test_bias_drift_gain_and_noise_are_recovered() -> None:
    quality, bias, drift, gain, noise, time, ratings = planted()
    fit = fit_raters(ratings, time)
    assert np.corrcoef(fit.quality, quality)[0, 1] > 0.95
    assert fit.bias == pytest.approx(bias, abs=2.5)
    assert (np.abs(fit.drift - drift) < 3.5 * fit.drift_sd).all()
    assert fit.gain == pytest.approx(gain, rel=0.2)
    assert np.argsort(fit.noise).tolist() == np.argsort(noise).tolist()


def test_the_reliability_it_claims_is_the_one_it_has() -> None:
    quality, *_, time, ratings = planted()
    fit = fit_raters(ratings, time)
    assert fit.reliability == pytest.approx(np.corrcoef(fit.quality, quality)[0, 1] ** 2, abs=0.04)


def test_slips_and_a_careless_rater_hurt_it_less_than_the_mean() -> None:
    quality, *_, time, ratings = planted()
    random = np.random.default_rng(9)
    slips = random.random(ratings.shape) < 0.06
    ratings = np.where(slips, random.uniform(0, 100, ratings.shape), ratings)
    fit = fit_raters(ratings, time)
    assert np.corrcoef(fit.quality, quality)[0, 1] > np.corrcoef(ratings.mean(1), quality)[0, 1] + 0.03


def test_missing_ratings_are_no_bias() -> None:
    quality, *_, time, ratings = planted()
    ratings[:150, 1] = np.nan  # the generous rater heard only one half
    fit = fit_raters(ratings, time)
    assert abs((fit.quality - quality)[:150].mean() - (fit.quality - quality)[150:].mean()) < 2.5


def test_too_few_ratings_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 4"):
        fit_raters(np.ones((3, 2)), np.zeros((3, 2)))
