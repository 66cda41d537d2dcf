import math

import numpy as np
import pytest

from keybed.experiments.listening.gate import FEWEST_CLIPS, SMALLEST_R
from keybed.experiments.listening.power import fisher_interval, largest_by_chance, n_to_decide, power


def test_power_agrees_with_cohens_table() -> None:
    # Cohen (1988), two-sided 5 %, power 0.80: r = 0.1, 0.3, 0.5 need 783, 85 and 28 pairs.
    for n, r in [(783, 0.1), (85, 0.3), (28, 0.5)]:
        assert power(n).smallest_r == pytest.approx(r, abs=0.01)


def test_a_dimension_is_decided_from_the_number_of_clips_on_that_tells_half_from_nothing() -> None:
    assert power(FEWEST_CLIPS).smallest_r <= SMALLEST_R < power(FEWEST_CLIPS - 1).smallest_r


def test_rater_noise_raises_what_must_be_there() -> None:
    assert power(100, 0.64).smallest_true_r == pytest.approx(power(100).smallest_r / 0.8)


@pytest.mark.parametrize(("n", "r"), [(2, 1.0), (3, 0.997), (6, 0.811), (30, 0.361), (102, 0.195)])
def test_chance_correlations_are_those_of_the_table_of_critical_values(n, r) -> None:
    # Fisher and Yates, Statistical Tables (1963), table VII: two-sided 5 %, n − 2 degrees of freedom.
    assert largest_by_chance(n) == pytest.approx(r, abs=5e-4)


def test_power_is_what_a_simulation_finds() -> None:
    n, random = 60, np.random.default_rng(0)
    r = power(n).smallest_r
    x = random.normal(size=(4000, n))
    y = r * x + math.sqrt(1 - r**2) * random.normal(size=(4000, n))
    observed_r = [np.corrcoef(a, b)[0, 1] for a, b in zip(x, y, strict=True)]
    share = np.mean([fisher_interval(f, n)[0] > 0 for f in observed_r])
    assert share == pytest.approx(0.8, abs=0.02)


def test_n_to_decide_is_where_the_interval_lets_go_of_the_threshold() -> None:
    n = n_to_decide(0.6, 0.5)
    assert fisher_interval(0.6, n)[0] > 0.5 > fisher_interval(0.6, n - 1)[0]
    assert n_to_decide(0.5, 0.5) == math.inf


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="power is undefined"):
        power(3)
