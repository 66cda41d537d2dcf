"""The rating page as one folder per rater: it opens by double click, needs no server, and its result is one file."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Collection
from itertools import chain, count
from pathlib import Path
from typing import Any

from keybed.experiments.listening.app.rating_set import NotARatingSet, RatingSet
from keybed.experiments.listening.app.ratings import InvalidRating, Rating, check_rating, parse_json
from keybed.experiments.listening.app.server import PAGE
from keybed.experiments.listening.app.session import session
from keybed.experiments.listening.app.welcome import CHECKS

RESULT_FORMAT = "keybed-ratings-1"
MAX_RESULT_BYTES = 8_000_000


def write_offline(rating_set: RatingSet, out: Path) -> dict[str, Path]:
    """Write OUT/<rater>/index.html and its sound files, numbered by position; returns rater → folder.

    A folder is named after its rater, with hyphens for spaces and dots. "A B" and "A-B" get A-B and A-B-2; so do names that
    differ in upper and lower case alone, which is one folder on some disks.
    """
    folders: dict[str, Path] = {}
    for rater, order in rating_set.orders.items():
        folder = _free(out / re.sub(r"\W+", "-", rater), folders.values())
        (folder / "audio").mkdir(parents=True)
        for position, presentation in enumerate(order, start=1):
            shutil.copyfile(rating_set.audio(presentation.clip), folder / "audio" / f"{position}.flac")
        for name in CHECKS if rating_set.welcome.check else ():
            (folder / "check").mkdir(exist_ok=True)
            shutil.copyfile(rating_set.check(name), folder / "check" / f"{name}.flac")
        agreed = not rating_set.welcome.consent
        page_session = session(rating_set, rater, {}, agreed=agreed) | {"token": rating_set.tokens[rater]}
        (folder / "index.html").write_text(_page(page_session), encoding="utf-8")
        folders[rater] = folder
    return folders


def _free(folder: Path, taken: Collection[Path]) -> Path:
    """The folder, or with -2, -3, … behind its name where that is taken."""
    names = {other.name.casefold() for other in taken}
    numbered = chain([folder.name], (f"{folder.name}-{n}" for n in count(2)))
    return folder.with_name(next(name for name in numbered if name.casefold() not in names))


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

    Raises NotARatingSet where it belongs to another set or rater, InvalidRating where the file or a rating in it is
    malformed; the message names the file.
    """
    try:
        data = parse_json(_content(path))
        if (
            not isinstance(data, dict)
            or data.get("format") != RESULT_FORMAT
            or not isinstance(data.get("ratings"), dict)
        ):
            raise InvalidRating("not a file of ratings")
        rater = rating_set.rater_of(str(data.get("token", "")))
        if data.get("set_id") != rating_set.set_id or rater is None:
            raise NotARatingSet(f"{path} was made with another set or another rater's link")
        if data.get("consent_sha256", "") != rating_set.welcome.consent_sha256:
            raise InvalidRating(f"{rater} has not agreed to the text of consent of this set")
        return rater, dict(_rating_at(rating_set, rater, text, rating) for text, rating in data["ratings"].items())
    except InvalidRating as error:
        raise InvalidRating(
            f"{path}: {error}; ask the rater for the file again, or move this one out of the folder"
        ) from error


def _content(path: Path) -> bytes:
    if not path.is_file():
        raise InvalidRating("not a file")
    try:
        if path.stat().st_size > MAX_RESULT_BYTES:
            raise InvalidRating(f"over {MAX_RESULT_BYTES:,} bytes")
        return path.read_bytes()
    except OSError as error:
        raise InvalidRating(f"cannot be read ({error.strerror})") from error


def _rating_at(rating_set: RatingSet, rater: str, text: str, rating: Any) -> tuple[int, Rating]:
    position = rating_set.position(rater, text)
    if position is None:
        raise InvalidRating(f"clip {text!r:.80}: clips are numbered from 1 to {len(rating_set.orders[rater])}")
    try:
        return position, check_rating(rating)
    except InvalidRating as error:
        raise InvalidRating(f"clip {position}: {error}") from error
