"""Measures of aligned embeddings: alignment, recall among a segment's variants, retrieval, collapse, a 2-D projection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.data.json_codec import Key
from keybed.experiments.evaluation import diagnostics
from keybed.experiments.evaluation.alignment import Embeddings
from keybed.experiments.evaluation.alignment_rows import own_variant_hits, partner_ranks
from keybed.experiments.evaluation.inspection import sample
from keybed.experiments.evaluation.intervals import Interval, intervals
from keybed.store.format.rows import Rows

Floats = NDArray[np.float64]
RANKS = (1, 5, 10)


@dataclass(frozen=True)
class Retrieval:
    """R@1, R@5 and R@10 by direction, among `rows` rows and among those of the query's piece."""

    rows: int
    audio_to_midi: dict[str, float]
    audio_to_midi_same_piece: Annotated[dict[str, float], Key("audio_to_midi, same piece")]
    midi_to_audio: dict[str, float]
    midi_to_audio_same_piece: Annotated[dict[str, float], Key("midi_to_audio, same piece")]


@dataclass(frozen=True)
class Collapse:
    """Effective rank and uniformity: both are near 0 for a collapsed space."""

    effective_rank: float
    uniformity: float


@dataclass(frozen=True)
class Projection2d:
    """(x, y) of rows of both modalities, row by row pairs."""

    audio: tuple[tuple[float, ...], ...]
    midi: tuple[tuple[float, ...], ...]


class AlignmentOfPieces:
    """Paired minus unpaired mean cosine, unpaired within a fold, as a function of piece weights."""

    def __init__(self, embeddings: Sequence[Embeddings], rows: Rows, pieces: NDArray[np.integer]) -> None:
        self._parts = []
        for m in embeddings:
            at = np.searchsorted(pieces, rows.piece[m.positions])
            width = m.audio.shape[1]
            audio, midi = np.zeros((len(pieces), width)), np.zeros((len(pieces), width))
            np.add.at(audio, at, m.audio)
            np.add.at(midi, at, m.midi)
            pair = np.bincount(at, weights=(m.audio * m.midi).sum(1), minlength=len(pieces))
            own = np.bincount(at, minlength=len(pieces)).astype(float)
            self._parts.append((audio, midi, (audio * midi).sum(1), pair, own))

    def __call__(self, weights: Floats) -> Floats:
        """(B,). A piece drawn twice counts as two pieces; a row is never compared with a copy of its own piece."""
        total, rows_seen = np.zeros(len(weights)), np.zeros(len(weights))
        for audio, midi, same_piece, pair, own in self._parts:
            n, twice = weights @ own, weights**2 - weights
            unpaired = ((weights @ audio) * (weights @ midi)).sum(1) - twice @ same_piece - weights @ pair
            n_unpaired = n**2 - twice @ own**2 - n
            known = n_unpaired > 0
            value = np.full(len(weights), np.nan)
            value[known] = (weights @ pair)[known] / n[known] - unpaired[known] / n_unpaired[known]
            total[known] += (value * n)[known]
            rows_seen[known] += n[known]
        return np.divide(total, rows_seen, out=np.full(len(weights), np.nan), where=rows_seen > 0)


def alignment_interval(embeddings: Sequence[Embeddings], rows: Rows) -> Interval:
    """Paired minus unpaired mean cosine with its interval over pieces."""
    pieces = np.unique(np.concatenate([rows.piece[m.positions] for m in embeddings]))
    of_pieces = AlignmentOfPieces(embeddings, rows, pieces)
    interval: Interval = intervals(lambda weights, _: of_pieces(weights)[:, None], len(pieces), 1)[0]
    return interval


def variant_recall(embeddings: Sequence[Embeddings], rows: Rows) -> tuple[Interval, float]:
    """R@1 of a row's partner among the variants of its segment (mean of both directions), and R@1 by chance.

    Ties share the point. NaN where no segment has two variants.
    """
    positions = np.concatenate([m.positions for m in embeddings])
    found = [own_variant_hits(m.audio, m.midi, rows.segment[m.positions]) for m in embeddings]
    hits, chance = (np.concatenate([f[i] for f in found]) for i in range(2))
    counted = np.isfinite(hits)
    if not counted.any():
        return Interval(float("nan"), float("nan"), float("nan")), float("nan")
    pieces, at_piece = np.unique(rows.piece[positions[counted]], return_inverse=True)
    top, count = np.bincount(at_piece, weights=hits[counted]), np.bincount(at_piece).astype(float)

    def statistic(weights: Floats, _: Floats) -> Floats:
        total = weights @ count
        return np.divide(weights @ top, total, out=np.full(len(weights), np.nan), where=total > 0)[:, None]

    return intervals(statistic, len(pieces), 1)[0], float(np.mean(chance[counted]))


def retrieval(embeddings: Embeddings, rows: Rows) -> Retrieval:
    """Recall of each row's partner, both ways, in one fold."""
    n, piece = len(embeddings.positions), rows.piece[embeddings.positions]

    def search(queries: Floats, answers: Floats) -> tuple[dict[str, float], dict[str, float]]:
        everywhere, in_piece = (
            {f"R@{r}": float((rank < r).mean()) for r in RANKS} for rank in partner_ranks(queries, answers, piece)
        )
        return everywhere, in_piece

    audio, midi = embeddings.audio, embeddings.midi
    return Retrieval(n, *search(audio, midi), *search(midi, audio))


def collapse_measures(embeddings: Embeddings) -> dict[str, Collapse]:
    """Effective rank and uniformity by modality."""
    chosen = sample(np.arange(len(embeddings.positions)))
    return {
        m: Collapse(diagnostics.effective_rank(x[chosen]), diagnostics.uniformity(x[chosen]))
        for m, x in (("audio", embeddings.audio), ("midi", embeddings.midi))
    }


def project_2d(embeddings: Embeddings, n_rows: int = 150) -> Projection2d:
    """Both modalities on the two leading principal axes of all embeddings together."""
    chosen = np.linspace(0, len(embeddings.positions) - 1, min(n_rows, len(embeddings.positions))).astype(int)
    both = np.concatenate([embeddings.audio[chosen], embeddings.midi[chosen]])
    _, _, axes = np.linalg.svd(both - both.mean(0), full_matrices=False)
    flat = np.round((both - both.mean(0)) @ axes[:2].T, 4)
    points = tuple(map(tuple, flat.tolist()))
    return Projection2d(points[: len(chosen)], points[len(chosen) :])
