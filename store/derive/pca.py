"""Principal components of a covariance matrix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Components:
    """vectors: float64 (k, dimensions), orthonormal rows, largest variance first; the largest entry of each is positive.

    variances: (k,) along the vectors. total_variance: the sum over all dimensions.
    """

    vectors: NDArray[np.float64]
    variances: NDArray[np.float64]
    total_variance: float


def principal_components(covariance: NDArray[np.float64], k: int) -> Components:
    """The k directions of largest variance; covariance: (dimensions, dimensions), symmetric."""
    variances, columns = np.linalg.eigh(covariance)
    vectors = columns[:, ::-1][:, :k].T
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=1)[:, None], axis=1)
    return Components(vectors * np.sign(largest), variances[::-1][:k], float(np.trace(covariance)))
