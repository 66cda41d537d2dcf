"""What each row of aligned embeddings contributes to recall: its own variant, its rank, its bins. Plain arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Vectors = NDArray[np.floating]
_QUERIES_AT_ONCE = 1024


def own_variant_hits(audio_NxD: Vectors, midi_NxD: Vectors, segment: NDArray[np.integer]) -> tuple[Floats, Floats]:
    """(hit, chance) of each row: 1 where its partner is the nearest among its segment's variants, mean of both directions.

    Ties share the point. NaN where a segment has a single row.
    """
    hit, chance = np.full(len(segment), np.nan), np.full(len(segment), np.nan)
    order = np.argsort(segment, kind="stable")
    for at in np.split(order, np.flatnonzero(np.diff(segment[order])) + 1):
        if len(at) < 2:
            continue
        cosine = audio_NxD[at] @ midi_NxD[at].T
        hit[at] = np.mean([_first(cosine), _first(cosine.T)], axis=0)
        chance[at] = 1 / len(at)
    return hit, chance


def _first(cosine: Vectors) -> Floats:
    best = cosine >= cosine.max(axis=1, keepdims=True) - 1e-9
    return np.diag(best) / best.sum(axis=1)


def partner_ranks(
    queries_NxD: Vectors, answers_NxD: Vectors, piece: NDArray[np.integer]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Number of answers nearer to each query than its partner: among all rows, and among those of its piece."""
    n = len(piece)
    better, better_in_piece = np.empty(n, np.int64), np.empty(n, np.int64)
    for start in range(0, n, _QUERIES_AT_ONCE):
        part = np.arange(start, min(start + _QUERIES_AT_ONCE, n))
        cosine = queries_NxD[part] @ answers_NxD.T
        above = cosine > cosine[part - start, part][:, None]
        better[part] = above.sum(1)
        better_in_piece[part] = (above & (piece[part][:, None] == piece)).sum(1)
    return better, better_in_piece


def bin_hits(
    audio_NxTxD: Vectors, midi_NxTxD: Vectors, mask_NxT: NDArray[np.bool_], near: int = 1
) -> tuple[Floats, Floats]:
    """(hit, chance) of each row: share of its valid bins whose nearest bin of the other modality lies within ±near.

    Bins are those that both modalities have, at length 1; mean of both directions. NaN for a row without a valid bin.
    """
    cosine_NxTxT = np.einsum("ntd,nud->ntu", audio_NxTxD, midi_NxTxD)
    n_bins = mask_NxT.shape[1]
    close = np.abs(np.arange(n_bins)[:, None] - np.arange(n_bins)) <= near
    count = mask_NxT.sum(axis=1)
    hits = np.zeros(len(mask_NxT))
    for cosine in (cosine_NxTxT, cosine_NxTxT.swapaxes(1, 2)):
        nearest_NxT = np.where(mask_NxT[:, None, :], cosine, -np.inf).argmax(axis=2)
        hits += 0.5 * (close[np.arange(n_bins)[None, :], nearest_NxT] & mask_NxT).sum(axis=1)
    candidates = np.where(mask_NxT, mask_NxT @ close.astype(np.float64), 0.0).sum(axis=1)
    known = count > 0
    hit = np.divide(hits, count, out=np.full(len(count), np.nan), where=known)
    return hit, np.divide(candidates, count**2, out=np.full(len(count), np.nan), where=known)
