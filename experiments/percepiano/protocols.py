"""Cross-validation protocols: which performances are for training and which for testing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold

from keybed.experiments.percepiano.reader import Ratings

Positions = NDArray[np.int64]
Fold = tuple[Positions, Positions]
SEGMENT_GROUPED = "segment-grouped"
PERFORMER_DISJOINT = "performer-disjoint"
ONE_COMPOSITION_OUT = "one composition out"


@dataclass(frozen=True, eq=False)
class Protocol:
    """Folds (train, test); each performance is in one test fold. held_back: what the folds hold back, in words."""

    name: str
    held_back: str
    folds: tuple[Fold, ...]


def protocols(ratings: Ratings) -> dict[str, Protocol]:
    """The authors' kind of split and two harder ones; without those that need more passages, players or compositions."""
    protocols = [
        _grouped(
            SEGMENT_GROUPED, "other passages of the same compositions, by the same players, are known", ratings.passage
        ),
        _grouped(PERFORMER_DISJOINT, "the players are new, the passages known", ratings.player),
    ]
    compositions = np.unique(ratings.composition)
    if compositions.size > 1:
        folds = tuple(
            (np.flatnonzero(ratings.composition != c), np.flatnonzero(ratings.composition == c)) for c in compositions
        )
        protocols.append(
            Protocol(
                ONE_COMPOSITION_OUT,
                "the composition (a movement counts as one) is new, the players may be known",
                folds,
            )
        )
    return {p.name: p for p in protocols if p.folds}


def _grouped(name: str, held_back: str, groups: NDArray[np.str_]) -> Protocol:
    n = min(4, np.unique(groups).size)
    if n < 2:
        return Protocol(name, held_back, ())
    return Protocol(name, held_back, tuple(GroupKFold(n).split(groups, groups=groups)))


def scores(predicted: NDArray[np.float64], rating: NDArray[np.float64]) -> Mapping[str, NDArray[np.float64]]:
    """R² and r of each scale, over the test performances of all folds together."""
    left = ((rating - predicted) ** 2).sum(axis=0)
    around = ((rating - rating.mean(axis=0)) ** 2).sum(axis=0)
    r = np.array([_pearson(a, b) for a, b in zip(predicted.T, rating.T, strict=True)])
    return {"r2": 1 - left / around, "r": r}


def _pearson(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    return float(np.corrcoef(a, b)[0, 1]) if a.std() > 0 and b.std() > 0 else 0.0
