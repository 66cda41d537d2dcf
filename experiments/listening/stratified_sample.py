"""A sample of rows to be rated: spread over scores, pieces and model uncertainty, with nearly uncorrelated labels.

A rater may give one overall impression to all eight sliders (halo). In this sample the labels of different dimensions are
nearly uncorrelated, and pristine rows, which are good in all dimensions, are few, so that halo gives low correlations.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.evaluation.decimals import number
from keybed.store.errors import KeybedError
from keybed.store.format.vocabulary import AXIS_DIMENSIONS

Floats = NDArray[np.float64]
Positions = NDArray[np.int64]

SCORE_EDGES = (60.0, 70.0, 80.0, 90.0)
"""Edges of five ranges of every score, to be filled about equally."""
_PROPOSALS_PER_ROW = 60


class SampleRefused(KeybedError):
    """No sample of this size meets the limits; the message says which limit and what to change."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """Rows to draw from. score, valid: (row, axis dimension); unsure: (row,), 0..1, rank of the spread over the model's seeds."""

    score: Floats
    valid: NDArray[np.bool_]
    pristine: NDArray[np.bool_]
    segment: NDArray[np.int64]
    piece: NDArray[np.int64]
    unsure: Floats


def label_correlations(score: Floats, valid: NDArray[np.bool_]) -> Floats:
    """Pearson's r of every two dimensions over the rows where both are valid; 0 where one does not vary."""
    n = score.shape[1]
    r = np.eye(n)
    for a in range(n):
        for b in range(a):
            both = valid[:, a] & valid[:, b]
            x, y = score[both, a], score[both, b]
            if both.sum() > 2 and x.std() > 0 and y.std() > 0:
                r[a, b] = r[b, a] = np.corrcoef(x, y)[0, 1]
    return r


def shares_of_ranges(score: Floats, valid: NDArray[np.bool_] | Floats) -> Floats:
    """Of each dimension's valid rows, the share in each of the five score ranges: (range, dimension)."""
    cell, n_known = np.searchsorted(SCORE_EDGES, score), np.maximum(valid.sum(axis=0), 1)
    return np.stack([((cell == c) * valid).sum(axis=0) / n_known for c in range(len(SCORE_EDGES) + 1)])


def thirds_of_uncertainty(unsure: Floats) -> NDArray[np.int64]:
    """How many rows lie in the lowest, middle and highest third of all candidates' uncertainty."""
    return np.bincount(np.minimum((unsure * 3).astype(int), 2), minlength=3)


def draw(
    rows: Candidates, n: int, rng: np.random.Generator, *, max_label_r: float = 0.15, max_pristine: float = 0.15
) -> Positions:
    """Draw n positions, one variant per segment, in random order.

    Raises SampleRefused where there are too few segments or labels stay correlated at max_label_r or more.
    """
    n_segments = np.unique(rows.segment).size
    if n_segments < n:
        raise SampleRefused(
            f"--n {n} needs as many segments, the test split has {n_segments}; give a smaller --n, or --trial for a "
            "small set to try the page with"
        )
    chosen = _first_draw(rows, n, rng, max_pristine)
    chosen = _improve(rows, chosen, rng, max_label_r, max_pristine)
    r = label_correlations(rows.score[chosen], rows.valid[chosen])
    np.fill_diagonal(r, 0)
    if np.abs(r).max() >= max_label_r:
        a, b = np.unravel_index(np.abs(r).argmax(), r.shape)
        first, second = (AXIS_DIMENSIONS[i].replace("_", " ") for i in sorted((a, b)))
        raise SampleRefused(
            f"labels of {first} and {second} stay correlated at {number(r[a, b], 2)} in the best sample of {n} found (limit "
            f"{max_label_r:g}); give a larger --n or a larger store, or --trial for a small set to try the page with"
        )
    if rows.pristine[chosen].mean() > max_pristine:
        raise SampleRefused(
            f"over {max_pristine:.0%} of the best sample is pristine; the test split has too few other rows"
        )
    return rng.permutation(chosen)


def _first_draw(rows: Candidates, n: int, rng: np.random.Generator, max_pristine: float) -> Positions:
    order = rng.permutation(rows.segment.size)
    order = order[np.argsort(rows.pristine[order], kind="stable")]  # one variant per segment, pristine last
    _, first = np.unique(rows.segment[order], return_index=True)
    return np.asarray(rng.permutation(order[first])[:n], np.int64)


def _improve(
    rows: Candidates, chosen: Positions, rng: np.random.Generator, max_label_r: float, max_pristine: float
) -> Positions:
    """Exchange rows at random and keep exchanges that lower the badness."""
    chosen = chosen.copy()
    owner = {int(s): i for i, s in enumerate(rows.segment[chosen])}
    best = _badness(rows, chosen, max_label_r, max_pristine)
    for _ in range(_PROPOSALS_PER_ROW * chosen.size):
        new = int(rng.integers(rows.segment.size))
        position = owner.get(int(rows.segment[new]), int(rng.integers(chosen.size)))
        old = int(chosen[position])
        if new == old:
            continue
        chosen[position] = new
        badness = _badness(rows, chosen, max_label_r, max_pristine)
        if badness < best:
            best = badness
            del owner[int(rows.segment[old])]
            owner[int(rows.segment[new])] = position
        else:
            chosen[position] = old
    return chosen


def _badness(rows: Candidates, chosen: Positions, max_label_r: float, max_pristine: float) -> float:
    """Weighted sum of squared violations of the sample's limits and balance; 0 is best."""
    score, valid = rows.score[chosen], rows.valid[chosen].astype(np.float64)
    n, n_known = len(chosen), np.maximum(valid.sum(axis=0), 1)
    centred = (score - (score * valid).sum(axis=0) / n_known) * valid
    squares = (centred**2).T @ valid
    r = centred.T @ centred / np.sqrt(np.maximum(squares * squares.T, 1e-12))
    over = np.maximum(np.abs(r) - 0.5 * max_label_r, 0)
    np.fill_diagonal(over, 0)
    shares = shares_of_ranges(score, valid)
    of_piece = np.unique(rows.piece[chosen], return_counts=True)[1] / n
    thirds = thirds_of_uncertainty(rows.unsure[chosen]) / n
    return float(
        40 * (over**2).sum()
        + ((shares - 0.2) ** 2).sum()
        + 2 * (of_piece**2).sum()
        + ((thirds - 1 / 3) ** 2).sum()
        + 100 * max(rows.pristine[chosen].mean() - 0.9 * max_pristine, 0) ** 2
        + (1 - valid.mean(axis=0)).sum() * 0.2
    )
