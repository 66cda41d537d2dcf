import numpy as np
import pytest
from sklearn.linear_model import Ridge

from keybed.experiments.evaluation.shortcuts import fit_predict


@pytest.mark.parametrize("width", [1, 6])
def test_the_fit_is_scikit_learns_ridge(width: int) -> None:
    rng = np.random.default_rng(width)
    train, test = rng.normal(size=(400, width)), rng.normal(size=(50, width))
    score, valid, weight = rng.uniform(50, 100, (400, 8)), rng.random((400, 8)) < 0.9, rng.uniform(0.3, 3, 400)
    predicted = fit_predict(train, test, score, valid, weight)

    def expanded(x: np.ndarray) -> np.ndarray:
        z = (x - train.mean(axis=0)) / train.std(axis=0)
        return np.hstack([z, z**2, np.tanh(2 * z)])

    for k in range(8):
        rows = valid[:, k]
        model = Ridge(alpha=1e-3 * weight[rows].sum())
        model.fit(expanded(train)[rows], score[rows, k], sample_weight=weight[rows])
        np.testing.assert_allclose(predicted[:, k], model.predict(expanded(test)), rtol=1e-6)
