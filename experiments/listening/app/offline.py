"""The rating page as one folder per rater: it opens by double click, needs no server, and its result is one file."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

from keybed.experiments.listening.app.rating_set import NotARatingSet, RatingSet
from keybed.experiments.listening.app.ratings import InvalidRating, Rating, check_rating
from keybed.experiments.listening.app.server import PAGE
from keybed.experiments.listening.app.session import session

RESULT_FORMAT = "keybed-ratings-1"
MAX_RESULT_BYTES = 8_000_000


def write_offline(rating_set: RatingSet, out: Path) -> dict[str, Path]:
    """Write OUT/<rater>/index.html and its sound files, numbered by position; returns rater → folder."""
    folders = {}
    for rater, order in rating_set.orders.items():
        folder = out / re.sub(r"\W+", "-", rater)
        (folder / "audio").mkdir(parents=True)
        for position, presentation in enumerate(order, start=1):
            shutil.copyfile(rating_set.audio(presentation.clip), folder / "audio" / f"{position}.flac")
        page_session = session(rating_set, rater, {}) | {"token": rating_set.tokens[rater]}
        (folder / "index.html").write_text(_page(page_session), encoding="utf-8")
        folders[rater] = folder
    return folders


def _page(page_session: dict[str, Any]) -> str:
    """index.html with its style, script and session inside."""
    page = (PAGE / "index.html").read_text(encoding="utf-8")
    style = (PAGE / "rating.css").read_text(encoding="utf-8")
    script = (PAGE / "rating.js").read_text(encoding="utf-8")
    data = json.dumps(page_session).replace("<", "\\u003c")
    inside = f'<script type="application/json" id="session">{data}</script>\n<script type="module">\n{script}</script>'
    page = page.replace('<link rel="stylesheet" href="../../page/rating.css">', f"<style>\n{style}</style>")
    return page.replace('<script type="module" src="../../page/rating.js"></script>', inside)


def read_result(path: Path, rating_set: RatingSet) -> tuple[str, dict[int, Rating]]:
    """(rater, position → rating) from a file that an offline rater sent back.

    Raises NotARatingSet where it belongs to another set or rater, InvalidRating where a rating in it is malformed.
    """
    if path.stat().st_size > MAX_RESULT_BYTES:
        raise InvalidRating(f"{path}: over {MAX_RESULT_BYTES} bytes")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InvalidRating(f"{path}: not JSON") from error
    if not isinstance(data, dict) or data.get("format") != RESULT_FORMAT or not isinstance(data.get("ratings"), dict):
        raise InvalidRating(f"{path}: not a file of ratings")
    rater = rating_set.rater_of(str(data.get("token", "")))
    if data.get("set_id") != rating_set.set_id or rater is None:
        raise NotARatingSet(f"{path} was made with another set or another rater's link")
    ratings = {}
    for position, rating in data["ratings"].items():
        if not position.isdigit() or not 1 <= int(position) <= len(rating_set.orders[rater]):
            raise InvalidRating(f"{path}: position {position!r}")
        try:
            ratings[int(position)] = check_rating(rating)
        except InvalidRating as error:
            raise InvalidRating(f"{path}: clip {position}: {error}") from error
    return rater, ratings
