"""One saved rating and its check, for the page's saves and for offline raters' files."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from keybed.experiments.listening.app.dimensions import HIGHEST, LOWEST
from keybed.store.errors import KeybedError
from keybed.store.format.vocabulary import DIMENSIONS

MAX_EDITS = 5_000
MAX_LISTENED_S = 86_400.0
_SAVE_ID = re.compile(r"[0-9A-Za-z-]{8,64}")
_FIELDS = {"save_id", "edit", "scores", "done", "listened_s", "plays"}


class InvalidRating(KeybedError):
    """Data that are not a valid rating; the message names the field and the reason."""


@dataclass(frozen=True)
class Rating:
    """The eight sliders of one presentation at one save.

    scores: dimension → 0..100, or None for "cannot tell"; a dimension not yet touched is absent. done: the rater went on,
    so all are present. edit counts the saves of this presentation from 1, save_id makes sending twice harmless.
    """

    save_id: str
    edit: int
    scores: Mapping[str, int | None]
    done: bool
    listened_s: float
    plays: int

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; `check_rating` is the inverse."""
        return {
            "save_id": self.save_id,
            "edit": self.edit,
            "scores": dict(self.scores),
            "done": self.done,
            "listened_s": self.listened_s,
            "plays": self.plays,
        }


def parse_rating(body: bytes) -> Rating:
    """From a request's bytes. Raises InvalidRating."""
    return check_rating(parse_json(body))


def parse_json(text: bytes) -> Any:
    """JSON from someone else. Raises InvalidRating where it is none, nests too deeply, or gives one key twice."""
    try:
        return json.loads(text, object_pairs_hook=_without_twins)
    except InvalidRating:
        raise
    except ValueError as error:
        raise InvalidRating("not JSON") from error
    except RecursionError as error:
        raise InvalidRating("JSON that nests too deeply") from error


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for key, value in pairs:
        if key in data:
            raise InvalidRating(f"the key {key!r:.80} stands twice in one object")
        data[key] = value
    return data


def check_rating(data: Any) -> Rating:
    """From plain JSON. Raises InvalidRating naming the first field that is wrong."""
    if not isinstance(data, dict) or set(data) != _FIELDS:
        raise InvalidRating(f"a rating has exactly the fields {', '.join(sorted(_FIELDS))}")
    save_id, done = data["save_id"], data["done"]
    if not isinstance(save_id, str) or not _SAVE_ID.fullmatch(save_id):
        raise InvalidRating("save_id: 8 to 64 letters, digits and hyphens")
    if not isinstance(done, bool):
        raise InvalidRating("done: true or false")
    edit = _whole("edit", data["edit"], 1, MAX_EDITS)
    plays = _whole("plays", data["plays"], 0, 100_000)
    listened_s = data["listened_s"]
    if isinstance(listened_s, bool) or not isinstance(listened_s, int | float) or not 0 <= listened_s <= MAX_LISTENED_S:
        raise InvalidRating(f"listened_s: seconds from 0 to {MAX_LISTENED_S:g}")
    return Rating(save_id, edit, _scores(data["scores"], done), done, float(listened_s), plays)


def _scores(scores: Any, done: bool) -> dict[str, int | None]:
    if not isinstance(scores, dict) or not set(scores) <= set(DIMENSIONS):
        raise InvalidRating(f"scores: only {', '.join(DIMENSIONS)}")
    if done and len(scores) < len(DIMENSIONS):
        raise InvalidRating(f"scores: {', '.join(d for d in DIMENSIONS if d not in scores)} missing")
    return {
        name: None if scores[name] is None else _whole(f"scores.{name}", scores[name], LOWEST, HIGHEST)
        for name in DIMENSIONS
        if name in scores
    }


def _whole(name: str, value: Any, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InvalidRating(f"{name}: a whole number from {low} to {high}")
    return value
