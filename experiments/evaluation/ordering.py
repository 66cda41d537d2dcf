"""Ordering accuracy of pairs of variants of one segment, and the slope of predictions on difficulty.

Both variants of a pair have the same piece, player and difficulty. The better variant is the one with the higher overall
score. A pair with equal scores is left out; a tie of the predictions counts half.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.evaluation.intervals import Interval, intervals
from keybed.experiments.evaluation.predictions import Predictions
from keybed.store.format.vocabulary import COVARIATES, DIMENSIONS, TIERS

OVERALL = DIMENSIONS.index("overall_interpretation")
TONE = DIMENSIONS.index("tone_quality")
TIER_PAIRS = tuple((a, b) for a in range(len(TIERS)) for b in range(a + 1, len(TIERS)))


@dataclass(frozen=True, eq=False)
class Pairs:
    """Row numbers of the better and the other variant, their tiers (lower tier number first) and tone difference."""

    better: NDArray[np.int64]
    worse: NDArray[np.int64]
    tiers: NDArray[np.int64]
    tone_difference: NDArray[np.float64]


@dataclass(frozen=True)
class Decile:
    """One tenth of the pristine–poor pairs by composite difficulty: mean difficulty, ordering accuracy, number of pairs."""

    difficulty: float
    accuracy: float
    pairs: int


@dataclass(frozen=True)
class Difficulty:
    """slopes: by covariate, as a share of the pristine–poor gap. by_decile: from the easiest tenth to the hardest."""

    slopes: dict[str, Interval]
    by_decile: tuple[Decile, ...]


def pairs_within_segments(predictions: Predictions) -> Pairs:
    """Every pair of variants of one segment with different overall scores."""
    order = np.lexsort((predictions.tier, predictions.segment))
    better, worse, tiers = [], [], []
    for step in range(1, len(TIERS)):
        first, second = order[:-step], order[step:]
        same = predictions.segment[first] == predictions.segment[second]
        first, second = first[same], second[same]
        difference = predictions.score[first, OVERALL] - predictions.score[second, OVERALL]
        known = np.isfinite(difference) & (difference != 0) & (predictions.tier[first] != predictions.tier[second])
        swap = difference[known] < 0
        better.append(np.where(swap, second[known], first[known]))
        worse.append(np.where(swap, first[known], second[known]))
        tiers.append(
            np.stack([predictions.tier[first[known]], predictions.tier[second[known]]], axis=1).astype(np.int64)
        )
    b, w = np.concatenate(better), np.concatenate(worse)
    tone = np.abs(predictions.score[b, TONE].astype(np.float64) - predictions.score[w, TONE])
    return Pairs(b, w, np.concatenate(tiers), tone)


def wins(quality_SxN: NDArray[np.floating], pairs: Pairs) -> NDArray[np.float64]:
    """(seed, pair): 1 where the better variant is put first, 0.5 for a tie, 0 otherwise."""
    difference = quality_SxN[:, pairs.better] - quality_SxN[:, pairs.worse]
    return np.where(difference > 0, 1.0, np.where(difference == 0, 0.5, 0.0))


def tone_equal(pairs: Pairs, chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Of the chosen pairs those whose tone scores are equal: the same tone level, or none in both."""
    return chosen & (pairs.tone_difference == 0)


def _ratio_of_sums(
    values_SxM: NDArray[np.float64],
    piece: NDArray[np.int32],
    pieces: NDArray[np.int32],
    groups: list[NDArray[np.bool_]],
) -> list[Interval]:
    """Mean of values within each group of M items with its interval over pieces and seeds."""
    at = np.searchsorted(pieces, piece)
    tops = np.zeros((len(pieces), len(groups), values_SxM.shape[0]))
    bottoms = np.zeros((len(pieces), len(groups)))
    for g, group in enumerate(groups):
        bottoms[:, g] = np.bincount(at[group], minlength=len(pieces))
        for s, row in enumerate(values_SxM):
            tops[:, g, s] = np.bincount(at[group], weights=row[group], minlength=len(pieces))

    def statistic(piece_weights: NDArray[np.float64], seed_weights: NDArray[np.float64]) -> NDArray[np.float64]:
        share = seed_weights / seed_weights.sum(1, keepdims=True)
        top = np.einsum("bp,pgs,bs->bg", piece_weights, tops, share, optimize=True)
        bottom = piece_weights @ bottoms
        return np.divide(top, bottom, out=np.full_like(top, np.nan), where=bottom > 0)

    return list(intervals(statistic, len(pieces), values_SxM.shape[0]))


def ordering(predictions: Predictions, name: str) -> dict[str, Interval]:
    """Ordering accuracy of one model's overall prediction: each tier pair, and two of them where tone is no help.

    Keys: "pristine>poor" …, and "pristine>poor, tone equal", "pristine>moderate, tone equal". Runs before degradation version 2
    have "…, tone alike" instead: the fifth of the pairs whose tone scores differed least.
    """
    pairs = pairs_within_segments(predictions)
    won = wins(predictions.by_model[name][:, :, OVERALL], pairs)
    names, groups = [], []
    for a, b in TIER_PAIRS:
        names.append(f"{TIERS[a]}>{TIERS[b]}")
        groups.append((pairs.tiers == (a, b)).all(1))
    for b in (TIERS.index("poor"), TIERS.index("moderate")):
        names.append(f"pristine>{TIERS[b]}, tone equal")
        groups.append(tone_equal(pairs, (pairs.tiers == (0, b)).all(1)))
    accuracy = _ratio_of_sums(won, predictions.piece[pairs.better], predictions.pieces, groups)
    return {name: Interval(v.value, max(v.low, 0.0), min(v.high, 1.0)) for name, v in zip(names, accuracy, strict=True)}


def composite_difficulty(predictions: Predictions) -> NDArray[np.float64]:
    """Mean of the standardised covariates of each row (row,); covariates that do not vary count as 0."""
    z = standardised(predictions.difficulty)
    return z.mean(axis=1)


def standardised(values_NxC: NDArray[np.floating]) -> NDArray[np.float64]:
    """Each column to zero mean and unit sd; missing values and constant columns become 0."""
    values = values_NxC.astype(np.float64)
    mean, sd = np.nanmean(values, axis=0), np.nanstd(values, axis=0)
    z = np.divide(values - mean, sd, out=np.zeros_like(values), where=sd > 1e-12)
    return np.nan_to_num(z)


def ordering_by_difficulty(predictions: Predictions, name: str, n_bins: int = 10) -> list[Decile]:
    """Accuracy of pristine over poor in each tenth of composite difficulty, easiest first."""
    pairs = pairs_within_segments(predictions)
    chosen = (pairs.tiers == (0, TIERS.index("poor"))).all(1)
    if not chosen.any():
        return []
    won = wins(predictions.by_model[name][:, :, OVERALL], pairs)[:, chosen].mean(0)
    hard = composite_difficulty(predictions)[pairs.better[chosen]]
    n_bins = min(n_bins, len(hard))
    parts = np.array_split(np.argsort(hard, kind="stable"), n_bins)
    return [Decile(float(hard[part].mean()), float(won[part].mean()), len(part)) for part in parts]


def difficulty_slopes(predictions: Predictions, name: str) -> dict[str, Interval]:
    """Slope of the overall prediction per sd of each covariate on pristine rows ÷ the mean pristine–poor gap (signed).

    NaN where the gap is not positive.
    """
    quality = predictions.by_model[name][:, :, OVERALL].astype(np.float64)
    pristine = np.flatnonzero(predictions.tier == TIERS.index("pristine"))
    poor = np.flatnonzero(predictions.tier == TIERS.index("poor"))
    z = standardised(predictions.difficulty[pristine])
    pieces = predictions.pieces
    n_pieces, n_seeds = len(pieces), len(quality)

    def by_piece(rows: NDArray[np.int64], values_RxM: NDArray[np.float64]) -> NDArray[np.float64]:
        sums = np.zeros((n_pieces, values_RxM.shape[1]))
        np.add.at(sums, np.searchsorted(pieces, predictions.piece[rows]), values_RxM)
        return sums

    high, low = quality[:, pristine].T, quality[:, poor].T
    n_high = by_piece(pristine, np.ones((len(pristine), 1)))
    n_low = by_piece(poor, np.ones((len(poor), 1)))
    sum_high, sum_low = by_piece(pristine, high), by_piece(poor, low)
    sum_z, sum_zz = by_piece(pristine, z), by_piece(pristine, z**2)
    products = (z[:, :, None] * high[:, None, :]).reshape(len(pristine), -1)
    sum_zq = by_piece(pristine, products)

    def statistic(piece_weights: NDArray[np.float64], seed_weights: NDArray[np.float64]) -> NDArray[np.float64]:
        share = seed_weights / seed_weights.sum(1, keepdims=True)
        n = piece_weights @ n_high
        with np.errstate(divide="ignore", invalid="ignore"):
            mean_high = (piece_weights @ sum_high * share).sum(1, keepdims=True) / n
            mean_low = (piece_weights @ sum_low * share).sum(1, keepdims=True) / (piece_weights @ n_low)
            mean_z = piece_weights @ sum_z / n
            zq = (piece_weights @ sum_zq).reshape(len(piece_weights), z.shape[1], n_seeds)
            covariance = np.einsum("bcs,bs->bc", zq, share) / n - mean_z * mean_high
            variance = piece_weights @ sum_zz / n - mean_z**2
            slope = np.where(variance > 1e-9, covariance / variance, 0)
            gap = mean_high - mean_low
            return np.where(gap > 0, slope / gap, np.nan)

    return dict(zip(COVARIATES, intervals(statistic, n_pieces, n_seeds), strict=True))
