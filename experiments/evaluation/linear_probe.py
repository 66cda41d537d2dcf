"""A closed-form linear probe for small data: ridge regression, predicted out of fold over whole groups.

The penalty is chosen inside each training part, on groups held out there. No prediction has seen its own group.
`heads/ridge` is not used: its features × features matrices are for more rows than features, and here features outnumber
rows; it chooses by mean validation r from other penalties, so r would change. scikit-learn's RidgeCV chooses
by single rows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from keybed.experiments.data.folds import grouped_folds
from keybed.heads.blas import one_thread

PENALTIES = tuple(float(10.0**k) for k in range(-3, 4))
"""Multiples of the mean eigenvalue of the Gram matrix, so that they mean the same for any width and scale."""

Matrix = NDArray[np.float64]


@one_thread()
def out_of_fold(x_NxD: Matrix, y_N: Matrix, groups: NDArray[np.integer], n_folds: int = 5, n_inner: int = 3) -> Matrix:
    """Ridge predictions float64 (N,), each made without its own group; the penalty is chosen by inner grouped folds."""
    fold = grouped_folds(groups, n_folds)
    predicted = np.zeros(len(y_N))
    for k in range(n_folds):
        train, test = fold != k, fold == k
        penalty = _choose(x_NxD[train], y_N[train], groups[train], n_inner)
        predicted[test] = _paths(x_NxD[train], y_N[train], x_NxD[test], (penalty,))[0]
    return predicted


def _choose(x: Matrix, y: Matrix, groups: NDArray[np.integer], n_inner: int) -> float:
    fold = grouped_folds(groups, min(n_inner, len(np.unique(groups))))
    error = np.zeros(len(PENALTIES))
    for k in range(int(fold.max()) + 1):
        held = fold == k
        paths = _paths(x[~held], y[~held], x[held], PENALTIES)
        error += ((paths - y[held]) ** 2).sum(1)
    return PENALTIES[int(np.argmin(error))]


def _paths(x: Matrix, y: Matrix, x_new: Matrix, penalties: tuple[float, ...]) -> Matrix:
    """Predictions (penalty, M) for x_new by ridge in its dual form, columns standardised on x, constant ones left out."""
    mean, sd = x.mean(0), x.std(0)
    kept = sd > 1e-9 * np.maximum(1.0, np.abs(mean))
    if not kept.any():
        return np.full((len(penalties), len(x_new)), y.mean())
    z, z_new = (x[:, kept] - mean[kept]) / sd[kept], (x_new[:, kept] - mean[kept]) / sd[kept]
    eigenvalue, vector = np.linalg.eigh(z @ z.T)
    eigenvalue = np.maximum(eigenvalue, 0.0)
    weight, scale = vector.T @ (y - y.mean()), eigenvalue.mean()
    reach = (z_new @ z.T) @ vector
    return np.stack([y.mean() + reach @ (weight / (eigenvalue + p * scale)) for p in penalties])


def area_under_roc(score_positive: NDArray[np.floating], score_negative: NDArray[np.floating]) -> float:
    """Probability that a positive scores higher than a negative, ties counting half (Mann–Whitney)."""
    n, m = len(score_positive), len(score_negative)
    if n == 0 or m == 0:
        raise ValueError("area_under_roc needs at least one positive and one negative")
    ranks = rankdata(np.concatenate([score_positive, score_negative]))
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * m))
