"""Models that predict human ratings from notes and encoder features: plain, comparative, and tables that use no music.

A *comparative* model predicts a performance's deviation from the mean rating of its passage. Its inputs are deviations from
the passage's mean too, in units of the passage's own spread. It uses the notes of all performances of a test passage, and
none of their ratings.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.percepiano.inputs import Inputs, standardise_by_passage
from keybed.experiments.percepiano.protocols import Fold, composition_folds
from keybed.experiments.percepiano.reader import Ratings
from keybed.experiments.percepiano.regressors import (
    Model,
    cached,
    mean_of,
    player_means,
    ridge,
    ridge_by_passage,
    trees,
    two_level,
)
from keybed.experiments.percepiano.within import Within

Floats = NDArray[np.float64]
_OF_MANY = 0.1
"""Share of an encoder's hundreds of channels that a tree split looks at; about as many as 0.4 of the 76 statistics."""
PLAIN_TREES = "plain trees"
BLEND = "comparative ridge + trees"
COMPARATIVE = "comparative"
"""In the name of every model that predicts deviations from the passage."""
BY_PASSAGE = "comparative ridge by passage"
"""Its penalty is chosen on held-out passages."""
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
    steady = cached(ridge_by_passage(inputs.standardised, target, inputs.ratings.passage, human))
    grown = cached(trees(relative, target, human))
    models = {
        "comparative ridge": own,
        "comparative ridge, with deviations": ridge(
            np.hstack([inputs.standardised, standardise_by_passage(inputs.deviations, inputs.ratings)]), target, human
        ),
        "comparative trees": grown,
        BLEND: mean_of(own, grown),
        BY_PASSAGE: steady,
        f"{BY_PASSAGE} + trees": mean_of(steady, grown),
    }
    if inputs.trusted is not None:
        encoded = standardise_by_passage(inputs.encoders[inputs.trusted], inputs.ratings)
        models[f"comparative ridge on {inputs.trusted}"] = ridge(encoded, target, human)
        both = cached(ridge(np.hstack([inputs.standardised, encoded]), target, human))
        models["comparative ridge, with encoders"] = both
        models[f"{BLEND}, with encoders"] = mean_of(both, grown)
        models[f"{BY_PASSAGE}, with encoders"] = ridge_by_passage(
            np.hstack([inputs.standardised, encoded]), target, inputs.ratings.passage, human
        )
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
        inner = composition_folds(ratings.composition[train])
        among = np.zeros(len(ratings), bool)
        among[train] = ratings.human[train]
        inside = Within(ratings, among)
        best, best_r = "", -np.inf
        for name, model in candidates.items():
            held_out = np.full(ratings.rating.shape, np.nan)
            for known, own in inner:
                held_out[train[own]] = model(train[known], train[own])
            r = float(inside.r(held_out[inside.kept]).mean())
            if r > best_r:
                best, best_r = name, r
        names.append(best)
        predictions[test] = candidates[best](train, test)
    return predictions, names
