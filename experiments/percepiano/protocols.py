"""Cross-validation protocols: which performances are for training and which for testing."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold

from keybed.experiments.percepiano.reader import Ratings
from keybed.store.counted import counted

Positions = NDArray[np.int64]
Fold = tuple[Positions, Positions]
SEGMENT_GROUPED = "segment-grouped"
PERFORMER_DISJOINT = "performer-disjoint"
ONE_COMPOSITION_OUT = "one composition out"
COMPOSITION_FOLDS = 5
"""With twenty compositions, twenty folds and the choice of a model within each took over fifteen minutes."""


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
    n_compositions = np.unique(ratings.composition).size
    if n_compositions > 1:
        folds = composition_folds(ratings.composition)
        in_folds = (
            f", {counted(n_compositions, 'composition')} in {counted(len(folds), 'fold')}"
            if len(folds) < n_compositions
            else ""
        )
        protocols.append(
            Protocol(
                ONE_COMPOSITION_OUT,
                "the composition (a movement counts as one, a theme with its variations as one) is new"
                f"{in_folds}, the players may be known",
                folds,
            )
        )
    return {p.name: p for p in protocols if p.folds}


def composition_folds(composition: NDArray[np.str_]) -> tuple[Fold, ...]:
    """(train, test) with one composition held back each; more than COMPOSITION_FOLDS of them share that many folds."""
    compositions = np.unique(composition)
    if compositions.size > COMPOSITION_FOLDS:
        return tuple(GroupKFold(COMPOSITION_FOLDS).split(composition, groups=composition))
    return tuple((np.flatnonzero(composition != c), np.flatnonzero(composition == c)) for c in compositions)


def write_folds(protocol: Protocol, ratings: Ratings, folder: Path) -> Path:
    """Write which fold tests each performance, as CSV: name, composition, passage, player, human, fold."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{protocol.name.replace(' ', '-')}.csv"
    fold = np.full(len(ratings), -1)
    for number, (_, test) in enumerate(protocol.folds):
        fold[test] = number
    with path.open("w", newline="", encoding="utf-8") as opened:
        writer = csv.writer(opened, lineterminator="\n")
        writer.writerow(["name", "composition", "passage", "player", "human", "fold"])
        columns = (ratings.names, ratings.composition, ratings.passage, ratings.player, ratings.human.astype(int), fold)
        writer.writerows(zip(*columns, strict=True))
    return path


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
