"""Diagnostics of attention and of two feature spaces, in NumPy.

The tests check each measure on a constructed case (uniform, one-hot, collapsed, identical, independent). `IN_WORDS` has one
sentence per measure for the reports.

Sources: Kornblith et al., Similarity of neural network representations revisited, ICML 2019 (CKA), with the unbiased
HSIC of Song et al., JMLR 13 (2012), eq. 5, because the plain one is near 1 for independent data when there are more
channels than rows; Roy and Vetterli, The effective rank, EUSIPCO 2007; Wang and Isola, ICML 2020, eq. 2 (uniformity).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from keybed.heads.blas import one_thread

IN_WORDS = {
    "attention_entropy": (
        "Entropy: how evenly attention spreads over the bins (cells of the time grid) of the other modality. 1: all bins alike; "
        "0: a single bin. An untrained head is even too, so compare trained with untrained."
    ),
    "attention_sparsity": (
        "Sparsity: share of the attention on the tenth of the bins that gets most of it. 0.10: no preference; 1: nothing else "
        "gets any."
    ),
    "alignment": (
        "Mean cosine of audio and MIDI of the same row minus that of different rows, each centred on its mean. 0: chance; "
        "1: the two of a row are the same and rows differ. Phase 3 trains projections for it."
    ),
    "cka": "Whether rows that are near each other in audio are also near in MIDI. 1: the same geometry; 0: unrelated.",
    "mean_cosine": (
        "Mean cosine over pairs of rows, without centring. Near 1: the features' mean is large beside the differences between "
        "rows. It says nothing about what a head can read, because heads see standardised features."
    ),
    "effective_rank": "Number of directions that the features use, from the entropy of their singular values.",
}


def attention_entropy(weights_QxS: NDArray[np.floating], valid_QxS: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Entropy of each query's attention ÷ log(number of valid keys): (…,) in [0, 1]; NaN with fewer than two keys."""
    weights = np.where(valid_QxS, weights_QxS, 0).astype(np.float64)
    weights = weights / np.maximum(weights.sum(-1, keepdims=True), 1e-12)
    entropy = -np.sum(weights * np.log(np.maximum(weights, 1e-30)), axis=-1)
    n_keys = np.broadcast_to(valid_QxS, weights.shape).sum(-1)
    return np.divide(entropy, np.log(np.maximum(n_keys, 2)), out=np.full(entropy.shape, np.nan), where=n_keys > 1)


def attention_sparsity(
    weights_QxS: NDArray[np.floating], valid_QxS: NDArray[np.bool_], share: float = 0.1
) -> NDArray[np.float64]:
    """Mass on the top `share` of each query's valid keys (at least one key): (…,) from about `share` (even) to 1."""
    weights = np.where(valid_QxS, weights_QxS, 0).astype(np.float64)
    weights = -np.sort(-weights / np.maximum(weights.sum(-1, keepdims=True), 1e-12), axis=-1)
    n_keys = np.broadcast_to(valid_QxS, weights.shape).sum(-1)
    n_top = np.ceil(share * n_keys - 1e-9)
    mass = np.where(np.arange(weights.shape[-1]) < n_top[..., None], weights, 0).sum(-1)
    return np.where(n_keys > 0, mass, np.nan)


def unit(features_NxD: NDArray[np.floating], mean_D: NDArray[np.floating] | None = None) -> NDArray[np.float64]:
    """Rows minus a mean (their own where none is given), scaled to length 1; zero rows stay zero."""
    x = features_NxD.astype(np.float64)
    x = x - (x.mean(0) if mean_D is None else mean_D)
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def alignment(audio_NxD: NDArray[np.floating], midi_NxD: NDArray[np.floating]) -> float:
    """Paired minus unpaired mean cosine after subtracting each modality's mean."""
    a, m = unit(audio_NxD), unit(midi_NxD)
    n = len(a)
    if n < 2:
        return float("nan")
    paired = float((a * m).sum(1).mean())
    everything = float(a.sum(0) @ m.sum(0))
    return paired - (everything - n * paired) / (n * (n - 1))


def cka(a_NxD: NDArray[np.floating], b_NxE: NDArray[np.floating]) -> float:
    """Linear centred kernel alignment from unbiased HSIC; about 0 for independent data. NaN below four rows."""
    n = len(a_NxD)
    if n < 4:
        return float("nan")
    k, m = a_NxD.astype(np.float64) @ a_NxD.T, b_NxE.astype(np.float64) @ b_NxE.T
    both = _unbiased_hsic(k, m)
    own = _unbiased_hsic(k, k) * _unbiased_hsic(m, m)
    return float(both / np.sqrt(own)) if own > 0 else float("nan")


def _unbiased_hsic(k_NxN: NDArray[np.float64], m_NxN: NDArray[np.float64]) -> float:
    n = len(k_NxN)
    k, m = k_NxN - np.diag(np.diag(k_NxN)), m_NxN - np.diag(np.diag(m_NxN))
    trace = float((k * m).sum())
    sums = float(k.sum() * m.sum()) / ((n - 1) * (n - 2))
    cross = 2 * float(k.sum(0) @ m.sum(0)) / (n - 2)
    return (trace + sums - cross) / (n * (n - 3))


def mean_pairwise_cosine(features_NxD: NDArray[np.floating]) -> float:
    """Mean cosine over all pairs of different rows, without centring: 1 where every row points the same way."""
    x = features_NxD.astype(np.float64)
    x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    n = len(x)
    if n < 2:
        return float("nan")
    return float((np.sum(x.sum(0) ** 2) - np.sum(x**2)) / (n * (n - 1)))


@one_thread()
def effective_rank(features_NxD: NDArray[np.floating]) -> float:
    """exp of the entropy of the normalised singular values of the centred rows; 0 where all rows are one."""
    x = features_NxD.astype(np.float64)
    singular = np.linalg.svd(x - x.mean(0), compute_uv=False)
    if singular.sum() < 1e-9:
        return 0.0
    share = singular / singular.sum()
    share = share[share > 1e-12]
    return float(np.exp(-(share * np.log(share)).sum()))


def uniformity(features_NxD: NDArray[np.floating], t: float = 2.0) -> float:
    """log of the mean Gaussian potential of all pairs of unit rows: 0 where collapsed, lower is more spread out."""
    x = features_NxD.astype(np.float64)
    x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    n = len(x)
    squared = np.clip(2 - 2 * (x @ x.T), 0, None)
    potential = np.exp(-t * squared[np.triu_indices(n, 1)])
    return float(np.log(potential.mean())) if potential.size else float("nan")


@one_thread()
def cca(
    audio_NxD: NDArray[np.floating], midi_NxE: NDArray[np.floating], n_components: int = 32, ridge: float = 0.1
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Canonical correlation analysis in closed form: matrices (D, C) and (E, C) that map centred rows to shared axes.

    Each side is first reduced to its leading principal components (at most a tenth of the rows) and whitened with a
    ridge of `ridge` times their mean variance; axes are weighted by their correlation (Hotelling 1936; CCA with
    whitening by SVD as in Andrew et al., ICML 2013, section 3).
    """
    n = len(audio_NxD)
    sides = []
    for x in (audio_NxD, midi_NxE):
        centred = x.astype(np.float64) - x.mean(0)
        _, singular, vectors = np.linalg.svd(centred, full_matrices=False)
        keep = max(1, min(4 * n_components, n // 10, int((singular > 1e-9 * max(singular[0], 1e-30)).sum())))
        variance = singular[:keep] ** 2 / n
        whiten = vectors[:keep].T / np.sqrt(variance + ridge * variance.mean())
        sides.append((centred @ whiten, whiten))
    (a, map_a), (m, map_m) = sides
    left, correlation, right = np.linalg.svd(a.T @ m / n, full_matrices=False)
    count = min(n_components, len(correlation))
    weight = np.sqrt(correlation[:count])
    return map_a @ left[:, :count] * weight, map_m @ right[:count].T * weight
