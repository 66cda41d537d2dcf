"""What foretells human ratings from notes and encoder features: plain models, comparative ones, and tables that hear nothing.

A *comparative* model learns how a performance departs from the others of its passage, from how its features do: targets
lose their passage's mean, and statistics are put in units of the passage's own spread. It hears all performances of a passage that is
judged, and none of their ratings.
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
"""(train, judged) → predicted ratings of the judged performances"""
PENALTIES = np.logspace(-1, 4.5, 12)
N_TREES = 200
_OF_MANY = 0.1
"""Share of an encoder's hundreds of channels that a split looks at; 0.4 of the 76 statistics are about as many."""
_SHRINK = 0.1
"""Share of a statistic's overall spread that is added to its spread in the passage."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """Features of every performance. encoders: a row's name → (n, channels), empty where nothing was rendered; those with
    random weights say so in their name, and `trusted` names the others taken together.
    """

    ratings: Ratings
    plain: Floats
    beside: Floats
    around: Floats
    deviations: Floats
    encoders: Mapping[str, Floats]
    trusted: str | None

    @property
    def target(self) -> Floats:
        """Ratings less their passage's human mean."""
        return less_passage_mean(self.ratings.rating, self.ratings.passage, self.ratings.human)


def make_inputs(ratings: Ratings, encoders: Mapping[str, Floats] | None = None, trusted: str | None = None) -> Inputs:
    """Statistics of every performance, by itself and beside the others of its passage."""
    plain = np.array([list(note_statistics(p).values()) for p in ratings.performances])
    apart = np.zeros((len(ratings), 0))
    for name in np.unique(ratings.passage):
        here = np.flatnonzero(ratings.passage == name)
        found = passage_deviations([ratings.performances[i] for i in here], _reference(ratings, here))
        rows = np.array([list(numbers.values()) for numbers in found])
        if apart.shape[1] == 0:
            apart = np.zeros((len(ratings), rows.shape[1]))
        apart[here] = rows
    around = less_passage_mean(plain, ratings.passage, ratings.human)
    return Inputs(ratings, plain, standardise_by_passage(plain, ratings), around, apart, dict(encoders or {}), trusted)


def _reference(ratings: Ratings, here: Positions) -> int:
    """The score rendering of a passage, else the performance with the middle number of notes."""
    rendered = [k for k, i in enumerate(here) if not ratings.human[i]]
    if rendered:
        return rendered[0]
    counts = [ratings.performances[i].n_notes for i in here]
    return int(np.argsort(counts, kind="stable")[len(counts) // 2])


def standardise_by_passage(values: Floats, ratings: Ratings) -> Floats:
    """Values less the human mean of their passage, over its human spread (drawn to the overall one)."""
    out = np.zeros_like(values)
    floor = _SHRINK * values[ratings.human].std(axis=0) + 1e-9
    for name in np.unique(ratings.passage):
        here = ratings.passage == name
        base = values[here & ratings.human] if (here & ratings.human).any() else values[here]
        out[here] = (values[here] - base.mean(axis=0)) / (base.std(axis=0) + floor)
    return out


def trees(features: Floats, target: Floats, human: NDArray[np.bool_] | None = None, max_features: float = 0.4) -> Model:
    """Extremely randomised trees (Geurts et al. 2006); human: learn from these performances alone."""

    def fit(train: Positions, test: Positions) -> Floats:
        used = train if human is None else train[human[train]]
        model = ExtraTreesRegressor(N_TREES, min_samples_leaf=2, max_features=max_features, n_jobs=1, random_state=0)
        return np.asarray(model.fit(features[used], target[used]).predict(features[test]))

    return fit


def ridge(features: Floats, target: Floats, human: NDArray[np.bool_] | None = None) -> Model:
    """Ridge regression, one penalty a scale, chosen by leave-one-out inside the training performances."""

    def fit(train: Positions, test: Positions) -> Floats:
        used = train if human is None else train[human[train]]
        scale = StandardScaler().fit(features[used])
        model = RidgeCV(PENALTIES, alpha_per_target=True).fit(scale.transform(features[used]), target[used])
        return np.asarray(model.predict(scale.transform(features[test])))

    return fit


def cached(model: Model) -> Model:
    """The same model, fitted once for each fold however many others are built on it."""
    known: dict[tuple[bytes, bytes], Floats] = {}

    def fit(train: Positions, test: Positions) -> Floats:
        key = (train.tobytes(), test.tobytes())
        if key not in known:
            known[key] = model(train, test)
        return known[key]

    return fit


def mean_of(*models: Model) -> Model:
    """Plain average of predictions."""
    return lambda train, test: np.asarray(sum(m(train, test) for m in models) / len(models))


def two_level(level: Model, inside: Model, passage: NDArray[np.str_]) -> Model:
    """Half the level model, half its passage means with the comparative model's departures put on them."""

    def fit(train: Positions, test: Positions) -> Floats:
        base, apart = level(train, test), inside(train, test)
        everybody = np.ones(len(test), bool)
        means = base - less_passage_mean(base, passage[test], everybody)
        return (base + means + apart) / 2

    return fit


def player_means(ratings: Ratings, target: Floats, *, by_composition: bool) -> Model:
    """A table that hears no music: the player's mean in training, of the same composition where asked."""
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
CHOSEN = "chosen inside the folds"
TABLE = "player × composition table (hears nothing)"
PLAYER_TABLE = "player table (hears nothing)"


def all_models(inputs: Inputs, candidates: Mapping[str, Model] | None = None) -> dict[str, Model]:
    """Every model by name. Those with "comparative" in the name foretell departures from the passage, not levels."""
    ratings, target = inputs.ratings, inputs.target
    everything = np.hstack([inputs.plain, inputs.beside, inputs.deviations])
    apart = np.hstack([inputs.around, inputs.deviations])
    wide = cached(trees(everything, ratings.rating))
    found: dict[str, Model] = {
        TABLE: player_means(ratings, ratings.rating, by_composition=True),
        PLAYER_TABLE: player_means(ratings, target, by_composition=False),
        PLAIN_TREES: trees(inputs.plain, ratings.rating),
        "plain ridge": ridge(inputs.plain, ratings.rating),
        "trees, passage in view": wide,
        **(comparative_models(inputs) if candidates is None else candidates),
        "two levels": two_level(wide, mean_of(ridge(inputs.beside, target), trees(apart, target)), ratings.passage),
    }
    for name, features in inputs.encoders.items():
        found[f"ridge on {name}"] = ridge(features, ratings.rating)
        found[f"trees on {name}"] = trees(features, ratings.rating, max_features=_OF_MANY)
        if name != inputs.trusted:
            found[f"comparative ridge on {name}"] = ridge(
                standardise_by_passage(features, ratings), target, ratings.human
            )
    return found


def comparative_models(inputs: Inputs) -> dict[str, Model]:
    """The candidates among which `choose_in_folds` decides; all learn from human performances alone."""
    target, human = inputs.target, inputs.ratings.human
    apart = np.hstack([inputs.around, inputs.deviations])
    own = cached(ridge(inputs.beside, target, human))
    grown = cached(trees(apart, target, human))
    found = {
        "comparative ridge": own,
        "comparative ridge, with departures": ridge(
            np.hstack([inputs.beside, standardise_by_passage(inputs.deviations, inputs.ratings)]), target, human
        ),
        "comparative trees": grown,
        BLEND: mean_of(own, grown),
    }
    if inputs.trusted is not None:
        heard = standardise_by_passage(inputs.encoders[inputs.trusted], inputs.ratings)
        found[f"comparative ridge on {inputs.trusted}"] = ridge(heard, target, human)
        both = cached(ridge(np.hstack([inputs.beside, heard]), target, human))
        found["comparative ridge, with encoders"] = both
        found[f"{BLEND}, with encoders"] = mean_of(both, grown)
    return found


def out_of_fold(model: Model, folds: tuple[Fold, ...], n: int, k: int) -> Floats:
    """Predictions (n, k) of every performance by the fold that judges it."""
    found = np.full((n, k), np.nan)
    for train, test in folds:
        found[test] = model(train, test)
    return found


def choose_in_folds(
    candidates: Mapping[str, Model], ratings: Ratings, folds: tuple[Fold, ...]
) -> tuple[Floats, list[str]]:
    """In every fold the candidate with the best human within-passage r on training compositions held out in turn.

    Returns predictions and each fold's choice. The judged composition has no part in it.
    """
    found, names = np.full(ratings.rating.shape, np.nan), []
    for train, test in folds:
        compositions = np.unique(ratings.composition[train])
        among = np.zeros(len(ratings), bool)
        among[train] = ratings.human[train]
        inside = Within(ratings, among)
        best, best_r = "", -np.inf
        for name, model in candidates.items():
            said = np.full(ratings.rating.shape, np.nan)
            for c in compositions:
                own = ratings.composition[train] == c
                said[train[own]] = model(train[~own], train[own])
            r = float(inside.r(said[inside.kept]).mean())
            if r > best_r:
                best, best_r = name, r
        names.append(best)
        found[test] = candidates[best](train, test)
    return found, names
