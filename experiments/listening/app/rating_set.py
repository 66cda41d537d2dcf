"""A rating set as a folder: the clips, and which rater hears them in which order. The answer key is in private/.

SET/set.json        clips and each rater's order (read by the server alone; a rater sees their own positions only)
SET/audio/          one FLAC per clip, named by a random code
SET/check/          quiet.flac and loud.flac, for the check of the volume
SET/private/        the raters' tokens and the answer key; nothing in it is served
SET/ratings.sqlite  ratings from the page        SET/returned/  files from offline raters
"""

from __future__ import annotations

import hmac
import json
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from keybed.experiments.listening.app.welcome import CHECKS, Welcome
from keybed.store.command import command
from keybed.store.disk.durable import replace_file
from keybed.store.errors import KeybedError
from keybed.store.format.vocabulary import DIMENSIONS

FORMAT_VERSION = 1
Role = Literal["anchor", "main", "repeat"]
_CODE = re.compile(r"[0-9a-z]{8,32}")
_NAME = re.compile(r"[\w][\w .-]{0,39}")
_POSITION = re.compile(r"[1-9][0-9]{0,5}")


class NotARatingSet(KeybedError):
    """The folder is not a rating set, or not a complete one."""


@dataclass(frozen=True)
class Presentation:
    """One clip in one rater's order. Anchors are the practice clips at the start; a repeat is a main clip a second time."""

    clip: str
    role: Role


@dataclass(frozen=True)
class RatingSet:
    """A whole set. orders: rater name → presentations; seconds: clip code → length; tokens: rater name → secret.

    shows: code of a practice clip → the dimension that it was drawn to show.
    """

    folder: Path
    set_id: str
    seconds: Mapping[str, float]
    orders: Mapping[str, tuple[Presentation, ...]]
    tokens: Mapping[str, str]
    welcome: Welcome = field(default_factory=Welcome)
    shows: Mapping[str, str] = field(default_factory=dict)

    def check(self, name: str) -> Path:
        """Path of a clip of the volume check. Raises KeyError for another name than those of CHECKS."""
        if name not in CHECKS or not self.welcome.check:
            raise KeyError(name)
        return self.folder / "check" / f"{name}.flac"

    def audio(self, clip: str) -> Path:
        """Path of a clip's sound. Raises KeyError for a clip of another set, so that no path leaves the folder."""
        if clip not in self.seconds:
            raise KeyError(clip)
        return self.folder / "audio" / f"{clip}.flac"

    @property
    def database(self) -> Path:
        """File with the ratings of the page."""
        return self.folder / "ratings.sqlite"

    @property
    def returned(self) -> Path:
        """Folder for the files of offline raters."""
        return self.folder / "returned"

    def position(self, rater: str, text: str) -> int | None:
        """The position that a URL or a result file names, or None where this rater has none so written ("03", "4" of 3)."""
        if _POSITION.fullmatch(text) is None or int(text) > len(self.orders[rater]):
            return None
        return int(text)

    def rater_of(self, token: str) -> str | None:
        """The rater with this token, or None; every token is compared, each in constant time."""
        owner = None
        for rater, secret in self.tokens.items():
            if hmac.compare_digest(secret.encode(), token.encode(errors="surrogatepass")):
                owner = rater
        return owner


def new_tokens(raters: Sequence[str]) -> dict[str, str]:
    """A fresh secret for each rater (144 bits). Raises ValueError for names with other characters than letters, digits, spaces, dots and hyphens, or repeated ones."""
    if len(set(raters)) != len(raters) or not raters:
        raise ValueError(f"every rater needs a name of its own: {list(raters)}")
    for name in raters:
        if not _NAME.fullmatch(name):
            raise ValueError(f"rater name {name!r}: use letters, digits, spaces, dots and hyphens, 40 at most")
    return {name: secrets.token_urlsafe(18) for name in raters}


def write_set(rating_set: RatingSet) -> None:
    """Write set.json and private/tokens.json; audio must lie there already. Raises NotARatingSet where it does not."""
    _check(rating_set)
    private = rating_set.folder / "private"
    private.mkdir(parents=True, exist_ok=True)
    private.chmod(0o700)
    _write(private / "tokens.json", dict(rating_set.tokens))
    (private / "tokens.json").chmod(0o600)
    orders = {rater: [asdict(p) for p in order] for rater, order in rating_set.orders.items()}
    plain = {
        "format": FORMAT_VERSION,
        "set_id": rating_set.set_id,
        "seconds": dict(rating_set.seconds),
        "orders": orders,
        "welcome": asdict(rating_set.welcome),
        "shows": dict(rating_set.shows),
    }
    _write(rating_set.folder / "set.json", plain)


def read_set(folder: Path) -> RatingSet:
    """Inverse of `write_set`. Raises NotARatingSet with what is missing or wrong."""
    for needed in (folder / "set.json", folder / "private" / "tokens.json"):
        if not needed.is_file():
            raise NotARatingSet(
                f"{needed} is absent: make a set with `{command('phase5', 'select', 'STORE', '--out', folder)}`"
            )
    data = _read(folder / "set.json")
    if not isinstance(data, dict) or data.get("format") != FORMAT_VERSION:
        version = data.get("format") if isinstance(data, dict) else None
        raise NotARatingSet(f"{folder / 'set.json'}: format {version!r:.40}, this version reads {FORMAT_VERSION}")
    try:
        rating_set = RatingSet(
            folder,
            data["set_id"],
            data["seconds"],
            {rater: tuple(Presentation(**p) for p in order) for rater, order in data["orders"].items()},
            dict(_read(folder / "private" / "tokens.json")),
            Welcome(**data.get("welcome", {})),  # sets made before version 0.2 have neither
            dict(data.get("shows", {})),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise NotARatingSet(f"{folder}: set.json or private/tokens.json is damaged; {_WAY}") from error
    _check(rating_set)
    return rating_set


def _check(rating_set: RatingSet) -> None:
    if set(rating_set.orders) != set(rating_set.tokens):
        raise NotARatingSet(f"{rating_set.folder}: raters with an order and raters with a token differ")
    for clip in rating_set.seconds:
        if not _CODE.fullmatch(clip):
            raise NotARatingSet(f"{rating_set.folder}: clip code {clip!r} is not plain letters and digits")
        if not rating_set.audio(clip).is_file():
            raise NotARatingSet(f"{rating_set.audio(clip)} is absent: run `keybed phase5 select` again")
    for name in CHECKS if rating_set.welcome.check else ():
        if not rating_set.check(name).is_file():
            raise NotARatingSet(f"{rating_set.check(name)} is absent: run `keybed phase5 select` again")
    if unknown := set(rating_set.shows.values()) - set(DIMENSIONS):
        raise NotARatingSet(f"{rating_set.folder}: practice clips show unknown dimensions {sorted(unknown)}")
    for rater, order in rating_set.orders.items():
        unknown = {p.clip for p in order} - set(rating_set.seconds)
        if unknown:
            raise NotARatingSet(f"{rating_set.folder}: the order of {rater} names unknown clips {sorted(unknown)}")


_WAY = "copy it again from a backup, or make another set with `keybed phase5 select`"


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise NotARatingSet(f"{path} is damaged or cannot be read; {_WAY}") from error


def _write(path: Path, data: Any) -> None:
    with replace_file(path) as file:
        file.write(json.dumps(data, indent=1, ensure_ascii=False).encode())
