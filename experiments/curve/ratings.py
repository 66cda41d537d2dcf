"""PercePiano: how many rated passages until a model that is trained on ratings beats heads that never met one.

Questions, scales and signs are those of the zero-shot test, fixed before the ratings were looked at. The test composition is held
out; the training passages are of the other compositions, in nested random draws.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from keybed.experiments.evaluation.curve_results import RatedPassages, RatingCurve
from keybed.experiments.evaluation.intervals import Interval
from keybed.experiments.percepiano.encoder_features import encode_performances, pooled_features
from keybed.experiments.percepiano.inputs import standardise_by_passage
from keybed.experiments.percepiano.note_statistics import note_statistics
from keybed.experiments.percepiano.protocols import Fold, composition_folds
from keybed.experiments.percepiano.reader import Ratings, read
from keybed.experiments.percepiano.regressors import Model, ridge
from keybed.experiments.percepiano.run_predictions import heads_of_run, predict_with_run
from keybed.experiments.percepiano.within import Within, interval, less_passage_mean
from keybed.experiments.percepiano.zero_shot import CONFIRMATORY, Question
from keybed.store.errors import KeybedError
from keybed.store.format.vocabulary import DIMENSIONS

Floats = NDArray[np.float64]
QUESTIONS = tuple(q for q in CONFIRMATORY if q.given is None)
PASSAGES = (2, 4, 8, 16, 32)
"""Rated passages to train on; all of them come last."""
DRAWS = 5
REPLICATES = 500
NOTES, ENCODED = "comparative ridge on note statistics", "comparative ridge on the heads' encoders"
MAIN = NOTES
"""The model that the answer is about, fixed beforehand: the simplest of its family in `phase5 percepiano`."""
_HOP_S = 6.2


def rating_curve(
    folder: Path, store: Path, run: Path, head: str, cache: Path, seed: int, console: Console
) -> RatingCurve:
    """Encode the performances with the store's recipe, predict with the run's head, train on nested sets of passages.

    Raises KeybedError for fewer than two compositions, a head that the run does not have, and what `heads_of_run` raises.
    """
    ratings = read(folder)
    if np.unique(ratings.composition).size < 2:
        raise KeybedError(f"{folder}: all performances are of one composition; a held-out one needs two at least")
    heads_of_run(run, store)  # before the performances are encoded, which takes minutes
    windows, specs = encode_performances(ratings, store, None, None, hop_s=_HOP_S, cache=cache, console=console)
    assert windows is not None
    _, predicted = predict_with_run(run, store, windows, specs)
    if head not in predicted:
        raise KeybedError(f"{run} has no head {head!r}; it has {', '.join(predicted)}")
    pooled, trusted = pooled_features(windows, specs)
    features = {NOTES: np.array([list(note_statistics(p).values()) for p in ratings.performances])}
    if trusted is not None:
        features[ENCODED] = pooled[trusted]
    return compare(ratings, features, predicted[head], run.name, head, seed)


def compare(
    ratings: Ratings, features: Mapping[str, Floats], predicted: Floats, run: str, head: str, seed: int
) -> RatingCurve:
    """features: model → (performance, channel). predicted: the head's scores (performance, 8)."""
    humans = Within(ratings, ratings.human)
    weights = np.concatenate([np.ones((1, len(humans.kept))), humans.weights(REPLICATES, seed)])
    zero = _mean_r(
        humans, ratings, np.stack([q.sign * predicted[:, _dimension(q)] for q in QUESTIONS], axis=1), weights
    )
    target = less_passage_mean(ratings.rating, ratings.passage, ratings.human)
    models = {name: ridge(standardise_by_passage(x, ratings), target, ratings.human) for name, x in features.items()}
    folds = composition_folds(ratings.composition)
    fewest = min(np.unique(ratings.passage[train]).size for train, _ in folds)
    sizes = [*(n for n in PASSAGES if n < fewest), fewest]
    rows = [_at_size(n, n == fewest, models, ratings, humans, folds, weights, zero, seed) for n in sizes]
    return RatingCurve(
        run=run,
        head=head,
        questions=tuple(f"{q.dimension} {q.words}" for q in QUESTIONS),
        compositions=len(np.unique(ratings.composition)),
        zero_shot=_as_interval(zero),
        sizes=tuple(rows),
        main_model=MAIN,
        ahead_from={m: _from(rows, [row.over_zero_shot[m].value > 0 for row in rows]) for m in models},
        beats_from={m: _from(rows, [row.over_zero_shot[m].above_zero for row in rows]) for m in models},
    )


def _at_size(
    n: int,
    everything: bool,
    models: Mapping[str, Model],
    ratings: Ratings,
    humans: Within,
    folds: tuple[Fold, ...],
    weights: Floats,
    zero: Floats,
    seed: int,
) -> RatedPassages:
    """Every model trained on n passages of each fold, mean over draws; all passages of a fold need one draw."""
    performances: list[int] = []
    passages: list[int] = []
    total = {name: np.zeros(len(weights)) for name in models}
    draws = 1 if everything else DRAWS
    for draw in range(draws):
        out = {name: np.full(ratings.rating.shape, np.nan) for name in models}
        for f, (train, test) in enumerate(folds):
            order = np.random.default_rng((seed, draw, f)).permutation(np.unique(ratings.passage[train]))
            chosen = train if everything else train[np.isin(ratings.passage[train], order[:n])]
            performances.append(int(ratings.human[chosen].sum()))
            passages.append(int(np.unique(ratings.passage[chosen]).size))
            for name, model in models.items():
                out[name][test] = model(chosen, test)
        for name, values in out.items():
            total[name] += _mean_r(humans, ratings, np.stack([_scales(values, q) for q in QUESTIONS], axis=1), weights)
    return RatedPassages(
        round(float(np.mean(passages))),
        float(np.mean(performances)),
        {name: _as_interval(t / draws) for name, t in total.items()},
        {name: _as_interval(t / draws - zero) for name, t in total.items()},
    )


def _dimension(question: Question) -> int:
    return DIMENSIONS.index(question.dimension)


def _scales(ratings: Floats, question: Question) -> Floats:
    """The mean of the question's scales, (n,)."""
    mean: Floats = ratings[:, [s - 1 for s in question.scales]].mean(axis=1)
    return mean


def _mean_r(humans: Within, ratings: Ratings, predicted: Floats, weights_BxN: Floats) -> Floats:
    """Mean over the questions of within-passage r, for every weighting; predicted: (performance, question)."""
    wanted = np.stack([_scales(ratings.rating, q) for q in QUESTIONS], axis=1)[humans.kept]
    return np.array([humans.r(predicted[humans.kept], wanted, w).mean() for w in weights_BxN])


def _as_interval(drawn: Floats) -> Interval:
    """The first is the estimate, the others its resamples."""
    return interval(drawn[0], drawn[1:])


def _from(rows: list[RatedPassages], holds: list[bool]) -> int | None:
    """The fewest passages from which it holds at every larger size."""
    first = None
    for row, here in zip(reversed(rows), reversed(holds), strict=True):
        if not here:
            break
        first = row.passages
    return first
