import numpy as np
import pytest

from keybed.experiments.evaluation.linear_probe import area_under_roc, out_of_fold


@pytest.mark.parametrize("width", [4, 300])
def test_a_linear_truth_is_found_in_unseen_groups(width):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(240, width))
    y = x[:, 0] - 2 * x[:, 1]
    predicted = out_of_fold(x, y, np.arange(240) // 8)
    assert np.corrcoef(predicted, y)[0, 1] > (0.999 if width == 4 else 0.5)


def test_a_group_constant_cannot_be_learnt_from_other_groups():
    rng = np.random.default_rng(1)
    groups = np.arange(400) // 10
    x = np.eye(40)[groups] + 0.01 * rng.normal(size=(400, 40))
    y = rng.normal(size=40)[groups]
    predicted = out_of_fold(x, y, groups)
    assert abs(np.corrcoef(predicted, y)[0, 1]) < 0.4


def test_the_dual_form_equals_the_normal_equations():
    from keybed.experiments.evaluation.linear_probe import _paths

    rng = np.random.default_rng(2)
    x, y, new = rng.normal(size=(50, 6)), rng.normal(size=50), rng.normal(size=(9, 6))
    z, z_new = (x - x.mean(0)) / x.std(0), (new - x.mean(0)) / x.std(0)
    penalty = 0.1 * np.linalg.eigvalsh(z @ z.T).clip(0).mean()
    beta = np.linalg.solve(z.T @ z + penalty * np.eye(6), z.T @ (y - y.mean()))
    np.testing.assert_allclose(_paths(x, y, new, (0.1,))[0], y.mean() + z_new @ beta, rtol=1e-9)


def test_constant_columns_predict_the_mean():
    y = np.arange(30.0)
    predicted = out_of_fold(np.ones((30, 3)), y, np.arange(30) // 3)
    assert np.all(np.isfinite(predicted))


def test_area_under_roc_by_counting_pairs():
    rng = np.random.default_rng(3)
    a, b = rng.integers(0, 5, 20).astype(float), rng.integers(0, 5, 30).astype(float)
    pairs = (a[:, None] > b).mean() + 0.5 * (a[:, None] == b).mean()
    assert area_under_roc(a, b) == pytest.approx(pairs)
