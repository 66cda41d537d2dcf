"""All ratings of a set, from the server's database and offline raters' files, as arrays over clips and raters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.listening.app.database import Database
from keybed.experiments.listening.app.offline import read_result
from keybed.experiments.listening.app.rating_set import Presentation, RatingSet
from keybed.experiments.listening.app.ratings import InvalidRating, Rating
from keybed.store.command import command
from keybed.store.errors import KeybedError
from keybed.store.format.vocabulary import DIMENSIONS

Floats = NDArray[np.float64]
Ratings = Mapping[str, Mapping[int, Rating]]
"""rater → position → rating"""


class NoRatings(KeybedError):
    """No clip of the set is rated yet."""


@dataclass(frozen=True, eq=False)
class RatingTable:
    """first, second: (clip, rater, dimension), NaN where not rated or "cannot tell"; second: ratings of repeats.

    time: (clip, rater), 0..1, when in the session the clip was first rated. finished: rater → (rated, of how many).
    """

    codes: tuple[str, ...]
    raters: tuple[str, ...]
    first: Floats
    second: Floats
    time: Floats
    finished: Mapping[str, tuple[int, int]]


def read_ratings(rating_set: RatingSet) -> dict[str, dict[int, Rating]]:
    """All current ratings, from database and offline files. Raises InvalidRating where one rater has ratings in both."""
    current: dict[str, dict[int, Rating]] = {}
    if rating_set.database.is_file():
        database = Database(rating_set.database)
        current = {rater: database.current(rater) for rater in rating_set.orders}
    if rating_set.returned.is_dir():
        sent: dict[str, str] = {}
        for path in sorted(rating_set.returned.glob("*.json")):
            rater, ratings = read_result(path, rating_set)
            if rater in sent or any(r.done for r in current.get(rater, {}).values()):
                raise InvalidRating(
                    f"{path}: {rater} has ratings in {sent.get(rater, 'the database')} too; keep one of them"
                )
            sent[rater] = path.name
            current[rater] = ratings
    return {rater: current.get(rater, {}) for rater in rating_set.orders}


def make_rating_table(rating_set: RatingSet, ratings: Ratings, codes: Sequence[str]) -> RatingTable:
    """Arrays over the given clips, from ratings marked done, without practice clips. Raises NoRatings where there is none."""
    raters = tuple(rater for rater, order in rating_set.orders.items() if _has_begun(order, ratings[rater]))
    if not raters:
        raise NoRatings(
            f"not yet: no clip of {rating_set.folder} is rated (practice clips do not count); send the raters their links: "
            f"{command('phase5', 'serve', rating_set.folder)}"
        )
    index = {code: i for i, code in enumerate(codes)}
    shape = (len(codes), len(raters))
    first, second = np.full((*shape, len(DIMENSIONS)), np.nan), np.full((*shape, len(DIMENSIONS)), np.nan)
    time = np.full(shape, np.nan)
    finished = {}
    for r, rater in enumerate(raters):
        order = rating_set.orders[rater]
        done = 0
        for position, presentation in enumerate(order, start=1):
            rating = ratings[rater].get(position)
            if rating is None or not rating.done or presentation.role == "anchor":
                continue
            done += 1
            i = index[presentation.clip]
            values = [np.nan if (v := rating.scores[d]) is None else float(v) for d in DIMENSIONS]
            if presentation.role == "repeat":
                second[i, r] = values
            else:
                first[i, r], time[i, r] = values, (position - 1) / max(len(order) - 1, 1)
        finished[rater] = (done, sum(p.role != "anchor" for p in order))
    return RatingTable(tuple(codes), raters, first, second, time, finished)


def _has_begun(order: Sequence[Presentation], ratings: Mapping[int, Rating]) -> bool:
    """True where a clip other than practice clips is rated."""
    return any(rating.done and order[position - 1].role != "anchor" for position, rating in ratings.items())
