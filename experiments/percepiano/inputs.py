"""Features of rated performances, alone and relative to the other performances of their passage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.percepiano.note_statistics import note_statistics
from keybed.experiments.percepiano.passage_deviations import passage_deviations
from keybed.experiments.percepiano.protocols import Positions
from keybed.experiments.percepiano.reader import Ratings
from keybed.experiments.percepiano.within import less_passage_mean

Floats = NDArray[np.float64]
RANDOM = "random weights"
"""In the name of every model that reads an encoder without trained weights."""
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
