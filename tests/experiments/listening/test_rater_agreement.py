import numpy as np
import pytest

from keybed.experiments.listening.rater_agreement import intraclass, krippendorff_alpha, self_agreement

# Shrout and Fleiss (1979), table 2: six targets, four judges.
SHROUT_FLEISS = np.array(
    [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], np.float64
)

# Krippendorff (2011), section E: four observers, twelve units, missing values.
_ = np.nan
KRIPPENDORFF = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, _, _, _],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, _, 3],
        [_, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, _],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, _],
    ]
).T


def test_intraclass_correlations_are_those_that_shrout_and_fleiss_published() -> None:
    icc = intraclass(SHROUT_FLEISS)
    assert icc.single.value == pytest.approx(0.29, abs=0.005)
    assert icc.mean.value == pytest.approx(0.62, abs=0.005)
    assert icc.consistency == pytest.approx(0.91, abs=0.005)
    assert icc.n_clips == 6


def test_intraclass_interval_is_mcgraw_and_wongs() -> None:
    # R's psych::ICC on the same table: ICC2 0.019–0.761, ICC2k 0.071–0.927.
    icc = intraclass(SHROUT_FLEISS)
    assert (icc.single.low, icc.single.high) == pytest.approx((0.019, 0.761), abs=0.001)
    assert (icc.mean.low, icc.mean.high) == pytest.approx((0.071, 0.927), abs=0.001)


def test_clips_that_one_rater_skipped_are_left_out() -> None:
    skipped = np.vstack([SHROUT_FLEISS, [[3, _, 3, 3]]])
    assert intraclass(skipped) == intraclass(SHROUT_FLEISS)


def test_a_constant_bias_lowers_absolute_agreement_and_not_consistency() -> None:
    truth = np.random.default_rng(0).normal(50, 15, (200, 1))
    noise = np.random.default_rng(1).normal(0, 5, (200, 3))
    fair, biased = intraclass(truth + noise), intraclass(truth + noise + np.array([0, 20, -20]))
    # Closed form: reliability of a mean of three is 225 / (225 + 25 / 3).
    assert fair.mean.value == pytest.approx(225 / (225 + 25 / 3), abs=0.02)
    assert biased.consistency == pytest.approx(fair.consistency)
    assert biased.mean.value < fair.mean.value - 0.1


def test_too_little_gives_nan() -> None:
    assert np.isnan(intraclass(np.ones((2, 3))).mean.value)
    assert np.isnan(intraclass(np.ones((5, 3))).mean.value)
    assert np.isnan(krippendorff_alpha(np.array([[1.0, _], [_, 2.0]])))


def test_alpha_is_that_of_the_published_example() -> None:
    assert krippendorff_alpha(KRIPPENDORFF) == pytest.approx(0.849, abs=0.0006)


def test_alpha_is_one_in_full_agreement_and_near_zero_by_chance() -> None:
    agreed = np.repeat(np.arange(10.0)[:, None], 3, axis=1)
    assert krippendorff_alpha(agreed) == 1.0
    by_chance = np.random.default_rng(0).integers(0, 101, (500, 4)).astype(float)
    assert krippendorff_alpha(by_chance) == pytest.approx(0, abs=0.04)


def test_self_agreement_recovers_the_planted_error() -> None:
    random = np.random.default_rng(0)
    truth = random.normal(60, 20, 4000)
    agreement = self_agreement(truth + random.normal(0, 6, 4000), truth + 3 + random.normal(0, 6, 4000))
    assert agreement.sd == pytest.approx(6, abs=0.2)
    assert agreement.shift == pytest.approx(3, abs=0.3)
    assert agreement.r == pytest.approx(400 / 436, abs=0.01)
    assert np.isnan(self_agreement(np.array([1.0, _]), np.array([1.0, 2.0])).r)
