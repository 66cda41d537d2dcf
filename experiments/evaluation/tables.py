"""Tables of a report: correlations with intervals, loss by modality swap, the audit against shortcut baselines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.evaluation.intervals import Interval, intervals
from keybed.experiments.evaluation.model_names import BEST_FUSION, SHORTCUT, SINGLES, SWAP_AUDIO, SWAP_MIDI
from keybed.experiments.evaluation.pairwise import PairwiseAccuracy
from keybed.experiments.evaluation.predictions import Correlations, Kind, Predictions, over_dimensions, over_seeds
from keybed.experiments.evaluation.shortcuts import NOT_A_SHORTCUT
from keybed.heads import metrics
from keybed.store.format.vocabulary import AXIS_DIMENSIONS

Floats = NDArray[np.float64]
Table = dict[str, dict[str, Interval]]


def correlation_table(predictions: Predictions, names: Sequence[str], kind: Kind) -> tuple[Table, dict[str, Interval]]:
    """r with its interval for each model and dimension, and each model's mean over the dimensions."""
    correlations = Correlations(predictions.only(tuple(names)), kind)

    def statistic(pieces: Floats, seeds: Floats) -> Floats:
        r = over_seeds(correlations(pieces), seeds)
        return np.concatenate([r, over_dimensions(r)[:, None]], axis=1)

    r = intervals(statistic, correlations.n_pieces, correlations.n_seeds)
    table = {
        name: {dimension: r[k, n] for k, dimension in enumerate(correlations.dimensions)}
        for n, name in enumerate(names)
    }
    return table, {name: r[-1, n] for n, name in enumerate(names)}


def pairwise_table(predictions: Predictions, names: Sequence[str]) -> tuple[Table, dict[str, Interval]]:
    """Pairwise accuracy with its interval for each model and dimension, and each model's mean over the seven axes.

    Undefined (NaN) where no two variants of a segment differ.
    """
    accuracy = PairwiseAccuracy(predictions.only(tuple(names)))

    def statistic(pieces: Floats, seeds: Floats) -> Floats:
        share = over_seeds(accuracy(pieces), seeds)
        return np.concatenate([share, over_dimensions(share[:, : len(AXIS_DIMENSIONS)])[:, None]], axis=1)

    share = intervals(statistic, accuracy.n_pieces, accuracy.n_seeds)
    table = {
        name: {d: _within_one(share[k, n]) for k, d in enumerate(predictions.dimensions)}
        for n, name in enumerate(names)
    }
    return table, {name: _within_one(share[-1, n]) for n, name in enumerate(names)}


def _within_one(share: Interval) -> Interval:
    return Interval(share.value, max(share.low, 0.0), min(share.high, 1.0)) if np.isfinite(share.low) else share


def point_correlations(predictions: Predictions, names: Sequence[str], kind: Kind) -> tuple[Table, dict[str, Interval]]:
    """The same without intervals (their bounds are NaN), for fewer pieces than an interval needs."""
    correlations = Correlations(predictions.only(tuple(names)), kind)
    r = over_seeds(correlations(np.ones((1, correlations.n_pieces))), np.ones((1, correlations.n_seeds)))
    mean = over_dimensions(r)[0]

    def bare(value: float) -> Interval:
        return Interval(float(value), float("nan"), float("nan"))

    table = {
        name: {dimension: bare(r[0, k, n]) for k, dimension in enumerate(correlations.dimensions)}
        for n, name in enumerate(names)
    }
    return table, {name: bare(mean[n]) for n, name in enumerate(names)}


def point_table(predictions: Predictions, names: Sequence[str]) -> dict[str, dict[str, dict[str, float | None]]]:
    """Spearman, R², MAE and CCC: the mean over seeds for each model and dimension, without intervals."""
    points: dict[str, dict[str, dict[str, float | None]]] = {}
    for metric in ("spearman", "r2", "mae", "ccc"):
        points[metric] = {}
        for name in names:
            each = [
                metrics.per_dimension(metric, one, predictions.score, predictions.valid)
                for one in predictions.by_model[name]
            ]
            points[metric][name] = {
                d: metrics.mean_defined([e[k] for e in each]) for k, d in enumerate(predictions.dimensions)
            }
    return points


def swap_losses(predictions: Predictions) -> tuple[dict[str, Interval], Table]:
    """Loss of the best fusion's specific r when one modality comes from another variant of the same segment.

    Returns the loss of the mean over dimensions by modality, and modality -> dimension -> loss.
    """
    correlations = Correlations(predictions.only((BEST_FUSION, SWAP_AUDIO, SWAP_MIDI)), "specific")

    def statistic(pieces: Floats, seeds: Floats) -> Floats:
        r = over_seeds(correlations(pieces), seeds)
        together = np.concatenate([over_dimensions(r)[:, None], np.nan_to_num(r)], axis=1)
        return together[:, :, :1] - together[:, :, 1:]

    loss = intervals(statistic, correlations.n_pieces, correlations.n_seeds)
    mean = {m: loss[0, i] for i, m in enumerate(SINGLES)}
    return mean, {m: {d: loss[k + 1, i] for k, d in enumerate(AXIS_DIMENSIONS)} for i, m in enumerate(SINGLES)}


@dataclass(frozen=True)
class BestShortcut:
    """The shortcut with the highest specific r on a dimension."""

    name: str
    value: float


@dataclass(frozen=True)
class AgainstShortcut:
    """A head's specific r minus that of the dimension's best shortcut; beats: the whole interval lies above zero."""

    difference: Interval
    beats: bool


@dataclass(frozen=True)
class Audit:
    """Heads against shortcut baselines, by specific r.

    reach: dimension -> shortcut -> r. best: by dimension; the shortcut that is the label itself is left out.
    beats: head -> dimension -> comparison.
    """

    reach: dict[str, dict[str, float]]
    best: dict[str, BestShortcut]
    beats: dict[str, dict[str, AgainstShortcut]]


def audit(predictions: Predictions, heads: Sequence[str]) -> Audit:
    """Compare every head with the best shortcut of each dimension (paired over pieces and seeds)."""
    shortcuts = [name for name in predictions.names if name.startswith(SHORTCUT)]
    names = (*heads, *shortcuts)
    correlations = Correlations(predictions.only(names), "specific")
    ones = np.ones((1, correlations.n_pieces)), np.ones((1, correlations.n_seeds))
    value = np.nan_to_num(over_seeds(correlations(ones[0]), ones[1]))[0]
    reach, best = {}, {}
    for k, dimension in enumerate(AXIS_DIMENSIONS):
        reach[dimension] = {n.removeprefix(SHORTCUT): float(value[k, names.index(n)]) for n in shortcuts}
        allowed = [n for n in reach[dimension] if NOT_A_SHORTCUT.get(n) != dimension]
        name = max(allowed, key=lambda n: reach[dimension][n])
        best[dimension] = BestShortcut(name, reach[dimension][name])
    at = [names.index(f"{SHORTCUT}{best[d].name}") for d in AXIS_DIMENSIONS]

    def statistic(pieces: Floats, seeds: Floats) -> Floats:
        r = np.nan_to_num(over_seeds(correlations(pieces), seeds))
        rival = np.stack([r[:, k, n] for k, n in enumerate(at)], axis=1)
        return r[:, :, : len(heads)] - rival[:, :, None]

    difference = intervals(statistic, correlations.n_pieces, correlations.n_seeds)
    beats = {
        head: {d: AgainstShortcut(difference[k, h], difference[k, h].above_zero) for k, d in enumerate(AXIS_DIMENSIONS)}
        for h, head in enumerate(heads)
    }
    return Audit(reach, best, beats)


def mean_specific(predictions: Predictions, name: str, dimensions: Sequence[str] = AXIS_DIMENSIONS) -> Interval:
    """One model's mean specific r over these dimensions."""
    correlations = Correlations(predictions.only((name,)), "specific")
    at = [AXIS_DIMENSIONS.index(d) for d in dimensions]
    mean: Interval = intervals(
        lambda p, s: over_dimensions(over_seeds(correlations(p), s)[:, at]), correlations.n_pieces, correlations.n_seeds
    )[0]
    return mean


@dataclass(frozen=True)
class LabelCorrelation:
    """Mean pairwise r of the seven axis scores: on all rows, and on rows that are not pristine."""

    all: float | None
    degraded: float | None


def label_correlation(predictions: Predictions) -> LabelCorrelation:
    """Correlation of the labels themselves; None where a score does not vary."""

    def mean_r(rows: NDArray[np.bool_]) -> float | None:
        scores = predictions.score[rows][:, : len(AXIS_DIMENSIONS)]
        scores = scores[np.isfinite(scores).all(1)]
        if len(scores) < 3 or (scores.std(0) == 0).any():
            return None
        r = np.asarray(np.corrcoef(scores.T))
        return float(r[np.triu_indices(len(AXIS_DIMENSIONS), 1)].mean())

    return LabelCorrelation(mean_r(np.ones(len(predictions.tier), bool)), mean_r(predictions.tier > 0))
