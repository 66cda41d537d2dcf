"""Principal components without ever holding the data: randomised subspace iteration over passes.

Halko, Martinsson & Tropp 2011 (SIAM Review 53:217), algorithm 4.4, applied to the covariance matrix: each pass gives
C Q for a thin Q, so the data are read n_iterations + 1 times and only (dimensions × components) numbers are kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

OVERSAMPLING = 16
ITERATIONS = 3


@dataclass(frozen=True, eq=False)
class Components:
    """vectors: float64 (k, dimensions), orthonormal rows, largest variance first, the largest entry of each positive.

    variances: (k,) along them. total_variance: of all dimensions together.
    """

    vectors: NDArray[np.float64]
    variances: NDArray[np.float64]
    total_variance: float


def principal_components(
    covariance_times: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    n_dimensions: int,
    k: int,
    total_variance: float,
    *,
    seed: int = 0,
    n_iterations: int = ITERATIONS,
) -> Components:
    """covariance_times(Q) = C Q for Q of shape (n_dimensions, ≤ k + 16); called n_iterations + 1 times."""
    width = min(n_dimensions, k + OVERSAMPLING)
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(n_dimensions, width)))
    for _ in range(n_iterations):
        q, _ = np.linalg.qr(covariance_times(q))
    small = q.T @ covariance_times(q)
    variances, rotation = np.linalg.eigh((small + small.T) / 2)
    vectors = (q @ rotation[:, ::-1][:, :k]).T
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=1)[:, None], axis=1)
    return Components(vectors * np.sign(largest), variances[::-1][:k], total_variance)
