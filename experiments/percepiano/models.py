"""Models that predict human ratings from notes and encoder features: plain, comparative, and tables that use no music.

A *comparative* model predicts a performance's deviation from the mean rating of its passage. Its inputs are deviations from
the passage's mean too, in units of the passage's own spread. It uses the notes of all performances of a test passage, and
none of their ratings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.linear_model import RidgeCV
from sklearn.preprocessing import StandardScaler

from keybed.experiments.percepiano.note_statistics import note_statistics
from keybed.experiments.percepiano.passage_deviations import passage_deviations
from keybed.experiments.percepiano.protocols import Fold, Positions
from keybed.experiments.percepiano.reader import Ratings
from keybed.experiments.percepiano.within import Within, less_passage_mean

Floats = NDArray[np.float64]
Model = Callable[[Positions, Positions], Floats]
"""(train, test) → predicted ratings of the test performances"""
PENALTIES = np.logspace(-1, 4.5, 12)
N_TREES = 200
_OF_MANY = 0.1
"""Share of an encoder's hundreds of channels that a tree split looks at; about as many as 0.4 of the 76 statistics."""
_SHRINK = 0.1
"""Share of a statistic's overall standard deviation that is added to the one within the passage."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """Features of every performance, (n, channels) each. plain: statistics; standardised: in units of the passage's spread;
    centred: minus the passage's mean; deviations: from the passage's other performances, note by note.

    encoders: name → features, empty where nothing was rendered; random weights are marked in the name. trusted: the name
    of all encoders together that have no random weights.
    """

    ratings: Ratings
    plain: Floats
    standardised: Floats
    centred: Floats
    deviations: Floats
    encoders: Mapping[str, Floats]
    trusted: str | None

    @property
    def target(self) -> Floats:
        """Ratings minus their passage's human mean."""
        return less_passage_mean(self.ratings.rating, self.ratings.passage, self.ratings.human)


def make_inputs(ratings: Ratings, encoders: Mapping[str, Floats] | None = None, trusted: str | None = None) -> Inputs:
    """Compute the statistics of every performance, alone and relative to its passage."""
    plain = np.array([list(note_statistics(p).values()) for p in ratings.performances])
    deviations = np.zeros((len(ratings), 0))
    for name in np.unique(ratings.passage):
        members = np.flatnonzero(ratings.passage == name)
        numbers = passage_deviations([ratings.performances[i] for i in members], _reference(ratings, members))
        rows = np.array([list(of_one.values()) for of_one in numbers])
        if deviations.shape[1] == 0:
            deviations = np.zeros((len(ratings), rows.shape[1]))
        deviations[members] = rows
    centred = less_passage_mean(plain, ratings.passage, ratings.human)
    return Inputs(
        ratings, plain, standardise_by_passage(plain, ratings), centred, deviations, dict(encoders or {}), trusted
    )


def _reference(ratings: Ratings, members: Positions) -> int:
    """The position of a passage's score rendering, or of the performance with the median number of notes."""
    rendered = [k for k, i in enumerate(members) if not ratings.human[i]]
    if rendered:
        return rendered[0]
    counts = [ratings.performances[i].n_notes for i in members]
    return int(np.argsort(counts, kind="stable")[len(counts) // 2])


def standardise_by_passage(values: Floats, ratings: Ratings) -> Floats:
    """Values minus the human mean of their passage, over its human standard deviation plus a share of the overall one."""
    out = np.zeros_like(values)
    floor = _SHRINK * values[ratings.human].std(axis=0) + 1e-9
    for name in np.unique(ratings.passage):
        rows = ratings.passage == name
        base = values[rows & ratings.human] if (rows & ratings.human).any() else values[rows]
        out[rows] = (values[rows] - base.mean(axis=0)) / (base.std(axis=0) + floor)
    return out


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


PLAIN_TREES = "plain trees"
BLEND = "comparative ridge + trees"
CHOSEN = "chosen in the folds"
TABLE = "player × composition table (uses no music)"
PLAYER_TABLE = "player table (uses no music)"


def all_models(inputs: Inputs, candidates: Mapping[str, Model] | None = None) -> dict[str, Model]:
    """Every model by name. Those with "comparative" in the name predict deviations from the passage, not levels."""
    ratings, target = inputs.ratings, inputs.target
    everything = np.hstack([inputs.plain, inputs.standardised, inputs.deviations])
    relative = np.hstack([inputs.centred, inputs.deviations])
    wide = cached(trees(everything, ratings.rating))
    models: dict[str, Model] = {
        TABLE: player_means(ratings, ratings.rating, by_composition=True),
        PLAYER_TABLE: player_means(ratings, target, by_composition=False),
        PLAIN_TREES: trees(inputs.plain, ratings.rating),
        "plain ridge": ridge(inputs.plain, ratings.rating),
        "trees, passage in view": wide,
        **(comparative_models(inputs) if candidates is None else candidates),
        "two levels": two_level(
            wide, mean_of(ridge(inputs.standardised, target), trees(relative, target)), ratings.passage
        ),
    }
    for name, features in inputs.encoders.items():
        models[f"ridge on {name}"] = ridge(features, ratings.rating)
        models[f"trees on {name}"] = trees(features, ratings.rating, max_features=_OF_MANY)
        if name != inputs.trusted:
            models[f"comparative ridge on {name}"] = ridge(
                standardise_by_passage(features, ratings), target, ratings.human
            )
    return models


def comparative_models(inputs: Inputs) -> dict[str, Model]:
    """The candidates of `choose_in_folds`; all are trained on human performances alone."""
    target, human = inputs.target, inputs.ratings.human
    relative = np.hstack([inputs.centred, inputs.deviations])
    own = cached(ridge(inputs.standardised, target, human))
    grown = cached(trees(relative, target, human))
    models = {
        "comparative ridge": own,
        "comparative ridge, with deviations": ridge(
            np.hstack([inputs.standardised, standardise_by_passage(inputs.deviations, inputs.ratings)]), target, human
        ),
        "comparative trees": grown,
        BLEND: mean_of(own, grown),
    }
    if inputs.trusted is not None:
        encoded = standardise_by_passage(inputs.encoders[inputs.trusted], inputs.ratings)
        models[f"comparative ridge on {inputs.trusted}"] = ridge(encoded, target, human)
        both = cached(ridge(np.hstack([inputs.standardised, encoded]), target, human))
        models["comparative ridge, with encoders"] = both
        models[f"{BLEND}, with encoders"] = mean_of(both, grown)
    return models


def out_of_fold(model: Model, folds: tuple[Fold, ...], n: int, k: int) -> Floats:
    """Predictions (n, k) of every performance, by the fold in which it is a test performance."""
    predictions = np.full((n, k), np.nan)
    for train, test in folds:
        predictions[test] = model(train, test)
    return predictions


def choose_in_folds(
    candidates: Mapping[str, Model], ratings: Ratings, folds: tuple[Fold, ...]
) -> tuple[Floats, list[str]]:
    """In every fold choose the candidate with the best human within-passage r on training compositions, held out in turn.

    Returns the predictions and each fold's choice. The test composition takes no part in the choice.
    """
    predictions, names = np.full(ratings.rating.shape, np.nan), []
    for train, test in folds:
        compositions = np.unique(ratings.composition[train])
        among = np.zeros(len(ratings), bool)
        among[train] = ratings.human[train]
        inside = Within(ratings, among)
        best, best_r = "", -np.inf
        for name, model in candidates.items():
            held_out = np.full(ratings.rating.shape, np.nan)
            for c in compositions:
                own = ratings.composition[train] == c
                held_out[train[own]] = model(train[~own], train[own])
            r = float(inside.r(held_out[inside.kept]).mean())
            if r > best_r:
                best, best_r = name, r
        names.append(best)
        predictions[test] = candidates[best](train, test)
    return predictions, names
