"""Agreement of predictions with scores: NumPy, float64, masked.

Functions take `valid` (bool, default all) and may take `weight` (≥ 0, e.g. how often a bootstrap drew the row). A value that
is not defined (constant labels or predictions, fewer than three rows) is None, never NaN. pingouin's partial_corr is not
used because it has no weights, which a bootstrap over pieces needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

Maybe = float | None

N_AXES = 7
"""Dimensions 0 to 6 have an axis each; dimension 7 is their weighted mean."""

_CONSTANT = 1e-12
"""A variance below this share of the squared mean counts as 0."""


def _counted(
    prediction: ArrayLike, score: ArrayLike, valid: ArrayLike | None, weight: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    p, s = np.asarray(prediction, np.float64), np.asarray(score, np.float64)
    if p.shape != s.shape or p.ndim != 1:
        raise ValueError(f"prediction {p.shape} and score {s.shape} must be vectors of one length")
    w = np.ones(len(p)) if weight is None else np.asarray(weight, np.float64)
    keep = w > 0 if valid is None else (w > 0) & np.asarray(valid, bool)
    return p[keep], s[keep], w[keep]


def _moments(x: NDArray, y: NDArray, w: NDArray) -> tuple[float, float, float, float, float]:
    total = w.sum()
    mx, my = float(w @ x / total), float(w @ y / total)
    dx, dy = x - mx, y - my
    return mx, my, float(w @ (dx * dx) / total), float(w @ (dy * dy) / total), float(w @ (dx * dy) / total)


def _varies(variance: float, mean: float) -> bool:
    return variance > _CONSTANT * max(mean * mean, variance) and variance > 0


def pearson(
    prediction: ArrayLike, score: ArrayLike, valid: ArrayLike | None = None, weight: ArrayLike | None = None
) -> Maybe:
    """Pearson's r; None where predictions or scores are constant, or fewer than three rows count."""
    p, s, w = _counted(prediction, score, valid, weight)
    if len(p) < 3:
        return None
    mp, ms, vp, vs, cov = _moments(p, s, w)
    if not (_varies(vp, mp) and _varies(vs, ms)):
        return None
    return float(np.clip(cov / np.sqrt(vp * vs), -1.0, 1.0))


def spearman(prediction: ArrayLike, score: ArrayLike, valid: ArrayLike | None = None) -> Maybe:
    """Spearman's rank correlation; ties get their mean rank."""
    p, s, _ = _counted(prediction, score, valid, None)
    return pearson(rankdata(p), rankdata(s)) if len(p) >= 3 else None


def ccc(
    prediction: ArrayLike, score: ArrayLike, valid: ArrayLike | None = None, weight: ArrayLike | None = None
) -> Maybe:
    """Lin's concordance correlation with population moments (Biometrics 1989, eq. 3); None where the scores are constant."""
    p, s, w = _counted(prediction, score, valid, weight)
    if len(p) < 3:
        return None
    mp, ms, vp, vs, cov = _moments(p, s, w)
    return 2.0 * cov / (vp + vs + (mp - ms) ** 2) if _varies(vs, ms) else None


def r2(
    prediction: ArrayLike, score: ArrayLike, valid: ArrayLike | None = None, weight: ArrayLike | None = None
) -> Maybe:
    """1 − Σ(score − prediction)² / Σ(score − mean)²; None where the scores are constant."""
    p, s, w = _counted(prediction, score, valid, weight)
    if len(p) < 3:
        return None
    _, ms, _, vs, _ = _moments(p, s, w)
    return float(1.0 - (w @ (s - p) ** 2 / w.sum()) / vs) if _varies(vs, ms) else None


def mae(
    prediction: ArrayLike, score: ArrayLike, valid: ArrayLike | None = None, weight: ArrayLike | None = None
) -> Maybe:
    """Mean absolute error in score points; None where no row counts."""
    p, s, w = _counted(prediction, score, valid, weight)
    return float(w @ np.abs(p - s) / w.sum()) if len(p) else None


def specific_r(
    prediction_NxK: ArrayLike, score_NxK: ArrayLike, valid_NxK: ArrayLike, weight_N: ArrayLike | None = None
) -> list[Maybe]:
    """Specific r of each dimension: the partial correlation of its prediction with its score given the other six axis scores.

    Rows count where the dimension itself is valid; `specific_controls` says what happens where another axis is not. The
    overall dimension is a function of the seven axes, so its specific r is not defined: None. Give non-pristine rows:
    pristine scores are constant.
    """
    p, s, v = np.asarray(prediction_NxK), np.asarray(score_NxK, np.float64), np.asarray(valid_NxK, bool)
    w = np.ones(len(p)) if weight_N is None else np.asarray(weight_N, np.float64)
    values: list[Maybe] = []
    for k in range(s.shape[1]):
        rows = v[:, k] & (w > 0)
        defined = k < N_AXES and bool(rows.any())
        controls_NxJ = specific_controls(s[rows], v[rows], k) if defined else None
        values.append(None if controls_NxJ is None else partial_r(p[rows, k], s[rows, k], controls_NxJ, w[rows]))
    return values


def specific_controls(score_NxK: NDArray, valid_NxK: NDArray[np.bool_], k: int) -> NDArray[np.float64]:
    """What specific r of dimension k controls for, float64 (N, J): the other axis scores and indicators of missing ones.

    A score that is not valid is replaced by its mean over the valid rows, and an indicator of the missing rows is added
    (missing-indicator method), so that no row is lost and masked scores are never read.
    """
    others = [j for j in range(min(N_AXES, score_NxK.shape[1])) if j != k]
    known_NxJ = valid_NxK[:, others]
    values_NxJ = np.where(known_NxJ, score_NxK[:, others], 0.0)
    mean_J = values_NxJ.sum(0) / np.maximum(known_NxJ.sum(0), 1)
    missing_NxM = ~known_NxJ[:, known_NxJ.any(axis=0) & ~known_NxJ.all(axis=0)]
    return np.hstack([np.where(known_NxJ, values_NxJ, mean_J), missing_NxM])


def partial_r(x: NDArray, y: NDArray, control_NxJ: NDArray, weight: NDArray | None = None) -> Maybe:
    """Correlation of the residuals of x and of y after weighted least squares on the controls and a constant.

    None where fewer than J + 3 rows are given, or where the controls (or a constant alone) explain x or y wholly.
    """
    if len(x) < control_NxJ.shape[1] + 3:
        return None
    w = np.ones(len(x)) if weight is None else weight
    table = np.column_stack([x, y, control_NxJ]).astype(np.float64)
    mean = (w @ table) / w.sum()
    table -= mean
    sd = np.sqrt((w @ table**2) / w.sum())
    if not (_varies(sd[0] ** 2, mean[0]) and _varies(sd[1] ** 2, mean[1])):
        return None
    table[:, sd > 0] /= sd[sd > 0]
    rows = table * np.sqrt(w)[:, None]
    sums = PartialSums.of(rows[:, 2:], rows[:, 1], rows[:, :1], [slice(None)])
    r = float(sums.partial_r(np.ones((1, 1)), shrinkage=1e-13)[0, 0])
    return float(np.clip(r, -1.0, 1.0)) if np.isfinite(r) else None


@dataclass(frozen=True, eq=False)
class PartialSums:
    """Sums of products over each of G groups of rows: c are J controls, y the score, p are P predictions. All float64.

    They make a bootstrap over groups cheap: a weight of a group multiplies its sums.
    """

    cc_GxJxJ: NDArray[np.float64]
    cy_GxJ: NDArray[np.float64]
    cp_GxJxP: NDArray[np.float64]
    yy_G: NDArray[np.float64]
    yp_GxP: NDArray[np.float64]
    pp_GxP: NDArray[np.float64]

    @staticmethod
    def of(control_NxJ: NDArray, score_N: NDArray, prediction_NxP: NDArray, groups: Sequence[slice]) -> PartialSums:
        """Sums over each group's rows. Controls hold a constant column unless all columns have mean 0."""
        parts = []
        for rows in groups:
            c, y, p = control_NxJ[rows], score_N[rows], prediction_NxP[rows]
            parts.append((c.T @ c, c.T @ y, c.T @ p, y @ y, y @ p, (p**2).sum(0)))
        return PartialSums(*(np.stack([part[i] for part in parts]) for i in range(6)))

    def partial_r(self, weight_BxG: NDArray[np.float64], shrinkage: float = 1e-10) -> NDArray[np.float64]:
        """Correlations r_BxP of the residuals of score and predictions after least squares on the controls.

        NaN where the controls leave less than 1e-8 of the sum of squares of either. `shrinkage` times the trace is added to
        the diagonal of the controls' Gram matrix, so that equal controls are no error.
        """
        cc, cy, cp, yy, yp, pp = (
            np.tensordot(weight_BxG, s, axes=1)
            for s in (self.cc_GxJxJ, self.cy_GxJ, self.cp_GxJxP, self.yy_G, self.yp_GxP, self.pp_GxP)
        )
        size = np.maximum(np.trace(cc, axis1=1, axis2=2), 1e-12)[:, None, None]
        beta = np.linalg.solve(
            cc + shrinkage * size * np.eye(cc.shape[-1]), np.concatenate([cy[:, :, None], cp], axis=2)
        )
        y_left = yy - (cy * beta[:, :, 0]).sum(1)
        p_left = pp - (cp * beta[:, :, 1:]).sum(1)
        both = yp - (cy[:, :, None] * beta[:, :, 1:]).sum(1)
        varies = (y_left[:, None] > 1e-8 * yy[:, None]) & (p_left > 1e-8 * np.maximum(pp, 1e-12))
        scale = np.sqrt(np.where(varies, y_left[:, None] * p_left, 1))
        return np.where(varies, both / scale, np.nan)


def per_dimension(metric: str, prediction_NxK: ArrayLike, score_NxK: ArrayLike, valid_NxK: ArrayLike) -> list[Maybe]:
    """One of pearson, spearman, ccc, r2, mae for each of K dimensions."""
    table = {"pearson": pearson, "spearman": spearman, "ccc": ccc, "r2": r2, "mae": mae}
    p, s, v = (np.asarray(a) for a in (prediction_NxK, score_NxK, valid_NxK))
    return [table[metric](p[:, k], s[:, k], v[:, k]) for k in range(s.shape[1])]


def mean_defined(values: Sequence[Maybe]) -> Maybe:
    """Mean of the defined values; None where there are none."""
    defined = [v for v in values if v is not None]
    return float(np.mean(defined)) if defined else None
