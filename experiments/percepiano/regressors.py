"""Models as functions from training and test performances to predicted ratings: trees, ridge, tables, and mixes of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GroupKFold
from sklearn.preprocessing import StandardScaler

from keybed.experiments.percepiano.protocols import Positions
from keybed.experiments.percepiano.reader import Ratings
from keybed.experiments.percepiano.within import less_passage_mean

Floats = NDArray[np.float64]
Model = Callable[[Positions, Positions], Floats]
"""(train, test) → predicted ratings of the test performances"""
PENALTIES = np.logspace(-1, 4.5, 12)
N_TREES = 200
_PENALTY_FOLDS = 5


def trees(features: Floats, target: Floats, human: NDArray[np.bool_] | None = None, max_features: float = 0.4) -> Model:
    """Extremely randomised trees (Geurts et al. 2006); human: train on these performances alone."""

    def fit(train: Positions, test: Positions) -> Floats:
        used = train if human is None else train[human[train]]
        model = ExtraTreesRegressor(N_TREES, min_samples_leaf=2, max_features=max_features, n_jobs=1, random_state=0)
        return np.asarray(model.fit(features[used], target[used]).predict(features[test]))

    return fit


def ridge(features: Floats, target: Floats, human: NDArray[np.bool_] | None = None) -> Model:
    """Ridge regression; one penalty per scale, chosen by leave-one-out among the training performances."""

    def fit(train: Positions, test: Positions) -> Floats:
        used = train if human is None else train[human[train]]
        scale = StandardScaler().fit(features[used])
        model = RidgeCV(PENALTIES, alpha_per_target=True).fit(scale.transform(features[used]), target[used])
        return np.asarray(model.predict(scale.transform(features[test])))

    return fit


def ridge_by_passage(
    features: Floats, target: Floats, passage: NDArray[np.str_], human: NDArray[np.bool_] | None = None
) -> Model:
    """Ridge regression; one penalty for all scales, the best R² on held-out passages of the training performances.

    Performances of one passage share its notes, so leaving out one alone chooses too small a penalty.
    """

    def fit(train: Positions, test: Positions) -> Floats:
        used = train if human is None else train[human[train]]
        n_folds = min(_PENALTY_FOLDS, np.unique(passage[used]).size)
        if n_folds < 2:
            return ridge(features, target, human)(train, test)
        scale = StandardScaler().fit(features[used])
        known, new = scale.transform(features[used]), scale.transform(features[test])
        if known.shape[1] > len(known):
            # Ridge is the same in any rotation: the axes in which the training performances lie are enough.
            axes = np.linalg.svd(known, full_matrices=False)[2].T
            known, new = known @ axes, new @ axes
        folds = list(GroupKFold(n_folds).split(used, groups=passage[used]))
        return np.asarray(RidgeCV(PENALTIES, cv=folds).fit(known, target[used]).predict(new))

    return fit


def cached(model: Model) -> Model:
    """The same model, fitted once per fold, however many other models use its predictions."""
    known: dict[tuple[bytes, bytes], Floats] = {}

    def fit(train: Positions, test: Positions) -> Floats:
        key = (train.tobytes(), test.tobytes())
        if key not in known:
            known[key] = model(train, test)
        return known[key]

    return fit


def mean_of(*models: Model) -> Model:
    """The mean of the models' predictions."""
    return lambda train, test: np.asarray(sum(m(train, test) for m in models) / len(models))


def two_level(level: Model, inside: Model, passage: NDArray[np.str_]) -> Model:
    """Mean of two predictions: the level model's, and its passage means plus the comparative model's deviations."""

    def fit(train: Positions, test: Positions) -> Floats:
        base, deviation = level(train, test), inside(train, test)
        everybody = np.ones(len(test), bool)
        means = base - less_passage_mean(base, passage[test], everybody)
        return (base + means + deviation) / 2

    return fit


def player_means(ratings: Ratings, target: Floats, *, by_composition: bool) -> Model:
    """A table that uses no music: the player's mean training rating, of the same composition where asked."""
    key = np.char.add(np.char.add(ratings.player, "|"), ratings.composition) if by_composition else ratings.player

    def fit(train: Positions, test: Positions) -> Floats:
        out = np.tile(target[train].mean(axis=0), (len(test), 1))
        for row, i in enumerate(test):
            known = train[key[train] == key[i]]
            if known.size:
                out[row] = target[known].mean(axis=0)
        return out

    return fit
