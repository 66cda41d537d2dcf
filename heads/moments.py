"""Weighted sums of features and scores over rows, and the ridge solutions and correlations computed from them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

_ROUNDING = 1e-6
"""Share of a mean square that sums of float32 products cannot tell from a variance."""

Floats = NDArray[np.float64]


class Moments:
    """Sums over the rows of one part and block. Sums over rows that lack a label are kept per pattern of missing labels."""

    def __init__(self, width: int, n_dimensions: int) -> None:
        self.xx, self.x, self.n = np.zeros((width, width)), np.zeros(width), 0.0
        self.xy, self.xk = np.zeros((width, n_dimensions)), np.zeros((width, n_dimensions))
        self.y, self.yy, self.nk = np.zeros(n_dimensions), np.zeros(n_dimensions), np.zeros(n_dimensions)
        self.groups: list[tuple[list[int], Floats | None]] = [(list(range(n_dimensions)), None)]

    def add(self, x: NDArray[np.float32], y: Floats, valid: NDArray[np.bool_], weight: Floats) -> None:
        """Add rows: x (row, D), y and valid (row, K), weight (row,)."""
        root = np.sqrt(weight).astype(np.float32)[:, None]
        scaled = x * root
        self.xx += scaled.T @ scaled
        w = weight[:, None] * valid
        self.n += weight.sum()
        self.xy += x.T.astype(np.float64) @ (w * y)
        self.xk += x.T.astype(np.float64) @ w
        self.y, self.yy, self.nk = self.y + (w * y).sum(0), self.yy + (w * y * y).sum(0), self.nk + w.sum(0)
        groups: list[tuple[list[int], Floats | None]] = []
        for members, unlabelled in self.groups:
            for columns in _same_columns(valid, members):
                missing = ~valid[:, columns[0]]
                gram = unlabelled
                if missing.any():
                    part = scaled[missing]
                    gram = (0.0 if unlabelled is None else unlabelled) + (part.T @ part).astype(np.float64)
                groups.append((columns, gram))
        self.groups = groups

    def gram(self, k: int) -> Floats:
        """Σ w x xᵀ (D, D) over the rows where dimension k is valid."""
        unlabelled = next(unlabelled for members, unlabelled in self.groups if k in members)
        return self.xx if unlabelled is None else self.xx - unlabelled


def _same_columns(valid: NDArray[np.bool_], members: list[int]) -> list[list[int]]:
    """Dimensions grouped by equal columns of `valid`."""
    by_pattern: dict[bytes, list[int]] = {}
    for k in members:
        by_pattern.setdefault(valid[:, k].tobytes(), []).append(k)
    return list(by_pattern.values())


class MergedMoments:
    """Several parts as one: means, covariances and ridge solutions from their sums."""

    def __init__(self, parts: Sequence[Moments]) -> None:
        self.parts = parts
        self.nk = sum((p.nk for p in parts), start=np.zeros_like(parts[0].nk))
        self._cached: dict[int, tuple[Floats, Floats]] = {}

    def y_mean(self) -> Floats:
        """mean_K of the scores."""
        return sum((p.y for p in self.parts), start=np.zeros_like(self.nk)) / np.maximum(self.nk, 1e-300)

    def group(self, k: int) -> int:
        """The first dimension whose labels are missing in the same rows as those of k in every part."""

        def same_rows(p: Moments) -> set[int]:
            return set(next(m for m, _ in p.groups if k in m))

        return min(set.intersection(*(same_rows(p) for p in self.parts)))

    def x_moments(self, k: int) -> tuple[Floats, Floats]:
        """(mean_D, covariance_DxD) over the rows where k is valid."""
        lead = self.group(k)
        if lead not in self._cached:
            self._cached.clear()
            n = self.nk[lead]
            mean = sum((p.xk[:, lead] for p in self.parts), start=np.zeros(len(self.parts[0].x))) / n
            gram = sum((p.gram(lead) for p in self.parts[1:]), start=self.parts[0].gram(lead)) / n
            self._cached[lead] = mean, gram - np.outer(mean, mean)
        return self._cached[lead]

    def y_moments(self, k: int, columns: slice, x_mean: Floats) -> tuple[float, float, Floats]:
        """(mean, variance, covariance_D with x) of dimension k."""
        n = self.nk[k]
        y = sum(p.y[k] for p in self.parts) / n
        yy = sum(p.yy[k] for p in self.parts) / n
        xy = sum((p.xy[columns, k] for p in self.parts), start=np.zeros(columns.stop - columns.start)) / n
        return y, max(yy - y * y, 0.0), xy - x_mean * y

    def defined(self, k: int, columns: slice) -> bool:
        """Whether the labels of dimension k vary and have a total weight of at least 3."""
        if self.nk[k] < 3:
            return False
        return self.y_moments(k, columns, self.x_moments(k)[0][columns])[1] > 1e-9

    def solutions(self, dimensions: Sequence[int], columns: slice, penalties: Sequence[float]) -> list[Floats]:
        """slope_DxK of each penalty, for dimensions of one group: they share each penalty's factorisation."""
        mean, cov = (a[(columns,) * a.ndim] for a in self.x_moments(dimensions[0]))
        covariance_DxK = np.stack([self.y_moments(k, columns, mean)[2] for k in dimensions], axis=1)
        variance = np.diag(cov).copy()
        # The variance of a nearly constant column with a large mean is rounding error: leave the column out.
        varying = variance > np.maximum(1e-12 * max(float(variance.max()), 1e-300), _ROUNDING * mean**2)
        scale = np.where(varying, 1.0 / np.sqrt(np.where(varying, variance, 1.0)), 0.0)
        correlation = cov * scale[:, None] * scale[None, :]
        np.fill_diagonal(correlation, 1.0)
        return [slope * scale[:, None] for slope in _ridge(correlation, covariance_DxK * scale[:, None], penalties)]

    def line(self, k: int, columns: slice, penalty: float) -> tuple[Floats, float]:
        """(slope_D, intercept) of dimension k with one penalty."""
        (slope_Dx1,) = self.solutions([k], columns, [penalty])
        slope, mean = slope_Dx1[:, 0], self.x_moments(k)[0][columns]
        return slope, float(self.y_moments(k, columns, mean)[0] - mean @ slope)


def _ridge(correlation: Floats, covariance_DxK: Floats, penalties: Sequence[float]) -> list[Floats]:
    """(correlation + penalty · I)⁻¹ covariance for each penalty.

    With few rows, float32 products can give the correlation matrix eigenvalues below minus the smallest penalty; negative
    eigenvalues then count as 0.
    """
    try:
        solved = []
        for penalty in penalties:
            regular = correlation.copy()
            regular[np.diag_indices_from(regular)] += penalty
            factor = cho_factor(regular, lower=True, overwrite_a=True, check_finite=False)
            solved.append(cho_solve(factor, covariance_DxK, check_finite=False))
        return solved
    except np.linalg.LinAlgError:
        value, vector = np.linalg.eigh(correlation)
        along = vector.T @ covariance_DxK
        return [vector @ (along / (np.maximum(value, 0.0) + penalty)[:, None]) for penalty in penalties]


def validation_r(train: MergedMoments, valid: MergedMoments, columns: slice, penalties: Sequence[float]) -> Floats:
    """r (penalty, K) on the validation parts, computed from moments; NaN where undefined."""
    table = np.full((len(penalties), len(train.nk)), np.nan)
    groups: dict[int, list[int]] = {}
    for k in range(len(train.nk)):
        if train.defined(k, columns) and valid.defined(k, columns):
            groups.setdefault(train.group(k), []).append(k)
    for dimensions in groups.values():
        slopes = train.solutions(dimensions, columns, penalties)
        for place, k in sorted(enumerate(dimensions), key=lambda item: valid.group(item[1])):
            mean, cov = (a[(columns,) * a.ndim] for a in valid.x_moments(k))
            _, variance, covariance = valid.y_moments(k, columns, mean)
            for i, slope_DxK in enumerate(slopes):
                slope = slope_DxK[:, place]
                predicted_variance = float(slope @ cov @ slope)
                if predicted_variance > 1e-12:
                    table[i, k] = float(slope @ covariance) / np.sqrt(predicted_variance * variance)
    return table
