"""How far a window's features lie from those of the training rows: a Mahalanobis distance with a shrunken covariance.

Each modality's features of a window are pooled to their mean and sd over time. The covariance of the training rows keeps its
first principal components; what remains has one variance in all directions (probabilistic PCA: Tipping and Bishop, 1999).
That is well conditioned for any number of channels. Nearest neighbours were not taken: they would put the features of the
training rows into every packed model, and cost more per window the larger the store is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from keybed.heads.inputs import MODALITIES, HeadInput

METHOD = (
    "Mahalanobis distance of each modality's pooled features (mean and sd over time), covariance by probabilistic PCA"
)
VALIDATION_SHARE = 0.01
"""Share of the validation windows that lie outside; every piece counts alike."""
MOST_COMPONENTS = 64
KEPT_VARIANCE = 0.95
MOST_ROWS = 8192
"""Training rows that the covariance is computed from, at most."""

Floats = NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class ModalityDistance:
    """Mean and sd of F pooled features, and a covariance of R components in units of that sd. threshold: of the distance."""

    mean_F: Floats
    sd_F: Floats
    basis_FxR: Floats
    variance_R: Floats
    rest_variance: float
    threshold: float = 1.0

    def __call__(self, pooled_NxF: Floats) -> NDArray[np.float64]:
        """The distance of each row, (N,), without the threshold."""
        z = np.where(self.sd_F > 0, (pooled_NxF - self.mean_F) / np.where(self.sd_F > 0, self.sd_F, 1), 0)
        within = z @ self.basis_FxR
        rest = np.maximum((z**2).sum(axis=1) - (within**2).sum(axis=1), 0)
        return np.asarray(np.sqrt((within**2 / self.variance_R).sum(axis=1) + rest / self.rest_variance), np.float64)


def pooled(batch: HeadInput, modality: str) -> NDArray[np.float64] | None:
    """Pooled features (N, F) of one modality; None where the batch has none.

    Of frames the mean and sd over the bins that count; of layers the mean over the states.
    """
    frames, layers = getattr(batch, f"{modality}_BxTxC"), getattr(batch, f"{modality}_layers_BxSxC")
    if frames is None:
        return None if layers is None else np.asarray(layers, np.float64).mean(axis=1)
    x, counts = np.asarray(frames, np.float64), np.asarray(getattr(batch, f"{modality}_mask_BxT"))[..., None]
    n = np.maximum(counts.sum(axis=1), 1)
    mean = np.where(counts, x, 0).sum(axis=1) / n
    square = np.where(counts, (x - mean[:, None]) ** 2, 0).sum(axis=1) / n
    return np.concatenate([mean, np.sqrt(square)], axis=1)


def fit_distance(
    train: Iterable[HeadInput], validation: Iterable[HeadInput], validation_piece: NDArray[np.integer]
) -> dict[str, ModalityDistance]:
    """The distance of every modality, with thresholds that VALIDATION_SHARE of the validation rows exceed in either modality."""
    by_modality = {m: _covariance(x) for m, x in _pool(train).items()}
    distances = {m: by_modality[m](x) for m, x in _pool(validation).items()}
    _, member, size = np.unique(validation_piece, return_inverse=True, return_counts=True)
    weight = 1 / size[member]
    own = {m: _upper_quantile(d, weight) for m, d in distances.items()}
    largest = np.max([d / own[m] for m, d in distances.items()], axis=0)
    both = _upper_quantile(largest, weight)
    return {m: _with_threshold(d, own[m] * both) for m, d in by_modality.items()}


def distance_of(by_modality: Mapping[str, ModalityDistance], batch: HeadInput) -> NDArray[np.float64]:
    """Distance over threshold, the largest of the modalities, (N,); above 1 a row lies outside the training data."""
    parts = []
    for modality, distance in by_modality.items():
        features = pooled(batch, modality)
        assert features is not None
        parts.append(distance(features) / distance.threshold)
    return np.asarray(np.max(parts, axis=0), np.float64)


def _pool(batches: Iterable[HeadInput]) -> dict[str, NDArray[np.float64]]:
    parts: dict[str, list[NDArray[np.float64]]] = {m: [] for m in MODALITIES}
    for batch in batches:
        for modality in MODALITIES:
            features = pooled(batch, modality)
            if features is not None:
                parts[modality].append(features)
    return {m: np.concatenate(p) for m, p in parts.items() if p}


def _covariance(x_NxF: NDArray[np.float64]) -> ModalityDistance:
    mean, sd = x_NxF.mean(axis=0), x_NxF.std(axis=0)
    sd = np.where(sd > 1e-9 * np.maximum(np.abs(mean), 1), sd, 0)
    z = np.where(sd > 0, (x_NxF - mean) / np.where(sd > 0, sd, 1), 0)
    total = float((z**2).sum()) / max(len(z) - 1, 1)
    most = max(min(MOST_COMPONENTS, len(z) - 1, int((sd > 0).sum()) - 1), 0)
    values, vectors = _largest_components(z, most)
    share = np.cumsum(values) / max(total, 1e-12)
    n = min(int(np.searchsorted(share, KEPT_VARIANCE)) + 1, most)
    rest = max(total - float(values[:n].sum()), 0) / max(int((sd > 0).sum()) - n, 1)
    rest_variance = max(float(rest), 1e-3)
    f32 = np.float32
    return ModalityDistance(
        mean.astype(f32),
        sd.astype(f32),
        vectors[:, :n].astype(f32),
        np.maximum(values[:n], rest_variance).astype(f32),
        rest_variance,
    )


def _largest_components(z_NxF: NDArray[np.float64], n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The n largest eigenvalues of the covariance and their vectors (F, n), from the smaller of its two products.

    A network has thousands of features: their covariance would take more memory than all else that a model is made from.
    """
    n_rows, n_features = z_NxF.shape
    if n == 0:
        return np.zeros(0), np.zeros((n_features, 0))
    wide = n_rows < n_features
    product = (z_NxF @ z_NxF.T if wide else z_NxF.T @ z_NxF) / (n_rows - 1)
    size = len(product)
    values, vectors = scipy.linalg.eigh(product, subset_by_index=[size - n, size - 1], overwrite_a=True)
    values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]
    if wide:
        vectors = z_NxF.T @ vectors / np.maximum(np.sqrt(values * (n_rows - 1)), 1e-12)
    return values, vectors


def _upper_quantile(x: NDArray[np.float64], weight: NDArray[np.float64]) -> float:
    order = np.argsort(x, kind="stable")
    cumulative = np.cumsum(weight[order])
    at = int(np.searchsorted(cumulative, (1 - VALIDATION_SHARE) * cumulative[-1] * (1 - 1e-12)))
    return float(max(x[order][min(at, x.size - 1)], 1e-9))


def _with_threshold(distance: ModalityDistance, threshold: float) -> ModalityDistance:
    d = distance
    return ModalityDistance(d.mean_F, d.sd_F, d.basis_FxR, d.variance_R, d.rest_variance, threshold)
