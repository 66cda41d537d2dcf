"""From named predictions to the numbers of a report: tables with intervals, the swap, the audit against shortcuts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.evaluation.intervals import Interval, intervals
from keybed.experiments.evaluation.model_names import BEST_FUSION, SHORTCUT, SWAP_AUDIO, SWAP_MIDI
from keybed.experiments.evaluation.predictions import Correlations, Kind, Predictions, over_dimensions, over_seeds
from keybed.experiments.evaluation.shortcuts import NOT_A_SHORTCUT
from keybed.heads import metrics
from keybed.store.format.vocabulary import AXIS_DIMENSIONS, DIMENSIONS

Floats = NDArray[np.float64]
Table = dict[str, dict[str, Interval]]


def correlation_table(predictions: Predictions, names: Sequence[str], kind: Kind) -> tuple[Table, dict[str, Interval]]:
    """r with its interval for each judge and dimension, and each judge's mean over the dimensions."""
    correlations = Correlations(predictions.only(tuple(names)), kind)

    def statistic(pieces: Floats, seeds: Floats) -> Floats:
        r = over_seeds(correlations(pieces), seeds)
        return np.concatenate([r, over_dimensions(r)[:, None]], axis=1)

    found = intervals(statistic, correlations.n_pieces, correlations.n_seeds)
    table = {
        name: {dimension: found[k, n] for k, dimension in enumerate(correlations.dimensions)}
        for n, name in enumerate(names)
    }
    return table, {name: found[-1, n] for n, name in enumerate(names)}


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
    """Spearman, R², MAE and CCC: the mean over seeds for each judge and dimension, without intervals."""
    found: dict[str, dict[str, dict[str, float | None]]] = {}
    for metric in ("spearman", "r2", "mae", "ccc"):
        found[metric] = {}
        for name in names:
            each = [
                metrics.per_dimension(metric, one, predictions.score, predictions.valid)
                for one in predictions.by_model[name]
            ]
            found[metric][name] = {d: metrics.mean_defined([e[k] for e in each]) for k, d in enumerate(DIMENSIONS)}
    return found


def swap_losses(predictions: Predictions) -> dict[str, Interval]:
    """How far the best fusion's mean specific r falls when one modality comes from another variant of the segment."""
    names = (BEST_FUSION, SWAP_AUDIO, SWAP_MIDI)
    correlations = Correlations(predictions.only(names), "specific")

    def statistic(pieces: Floats, seeds: Floats) -> Floats:
        mean = over_dimensions(over_seeds(correlations(pieces), seeds))
        return mean[:, :1] - mean[:, 1:]

    found = intervals(statistic, correlations.n_pieces, correlations.n_seeds)
    return {"audio": found[0], "midi": found[1]}


def swap_by_dimension(predictions: Predictions) -> Table:
    """The same loss for each dimension: which modality each judgement leans on."""
    names = (BEST_FUSION, SWAP_AUDIO, SWAP_MIDI)
    correlations = Correlations(predictions.only(names), "specific")

    def statistic(pieces: Floats, seeds: Floats) -> Floats:
        r = np.nan_to_num(over_seeds(correlations(pieces), seeds))
        return r[:, :, :1] - r[:, :, 1:]

    found = intervals(statistic, correlations.n_pieces, correlations.n_seeds)
    return {m: {d: found[k, i] for k, d in enumerate(AXIS_DIMENSIONS)} for i, m in enumerate(("audio", "midi"))}


def audit(predictions: Predictions, heads: Sequence[str]) -> dict[str, Any]:
    """Heads against the best shortcut of each dimension, by specific r.

    "best": dimension -> {name, value}. "beats": head -> dimension -> {interval of the difference, beats}; a head beats
    a shortcut only where the whole paired interval lies above zero. The shortcut that is the label itself is left out.
    """
    shortcuts = [name for name in predictions.names if name.startswith(SHORTCUT)]
    names = (*heads, *shortcuts)
    correlations = Correlations(predictions.only(names), "specific")
    ones = np.ones((1, correlations.n_pieces)), np.ones((1, correlations.n_seeds))
    value = np.nan_to_num(over_seeds(correlations(ones[0]), ones[1]))[0]
    reach, best = {}, {}
    for k, dimension in enumerate(AXIS_DIMENSIONS):
        allowed = [n for n in shortcuts if NOT_A_SHORTCUT.get(n.removeprefix(SHORTCUT)) != dimension]
        reach[dimension] = {n.removeprefix(SHORTCUT): float(value[k, names.index(n)]) for n in shortcuts}
        best[dimension] = max(allowed, key=lambda n: value[k, names.index(n)])
    at = [names.index(best[d]) for d in AXIS_DIMENSIONS]

    def statistic(pieces: Floats, seeds: Floats) -> Floats:
        r = np.nan_to_num(over_seeds(correlations(pieces), seeds))
        rival = np.stack([r[:, k, n] for k, n in enumerate(at)], axis=1)
        return r[:, :, : len(heads)] - rival[:, :, None]

    found = intervals(statistic, correlations.n_pieces, correlations.n_seeds)
    return {
        "reach": reach,
        "best": {
            d: {"name": n.removeprefix(SHORTCUT), "value": reach[d][n.removeprefix(SHORTCUT)]} for d, n in best.items()
        },
        "beats": {
            head: {
                d: {"difference": found[k, h].to_json(), "beats": found[k, h].above_zero}
                for k, d in enumerate(AXIS_DIMENSIONS)
            }
            for h, head in enumerate(heads)
        },
    }


def label_correlation(predictions: Predictions) -> dict[str, Any]:
    """How much the scores of different dimensions have in common: mean pairwise r, with and without pristine rows."""

    def mean_r(rows: NDArray[np.bool_]) -> float | None:
        scores = predictions.score[rows][:, : len(AXIS_DIMENSIONS)]
        scores = scores[np.isfinite(scores).all(1)]
        if len(scores) < 3 or (scores.std(0) == 0).any():
            return None
        r = np.asarray(np.corrcoef(scores.T))
        return float(r[np.triu_indices(len(AXIS_DIMENSIONS), 1)].mean())

    return {"all": mean_r(np.ones(len(predictions.tier), bool)), "degraded": mean_r(predictions.tier > 0)}
