"""What a vague title ("Sonata in A Min.", "Preludes No. 2, 6, 12") may name: form, key and numbers against other titles."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from keybed.extract.corpus.titles import composer_key, expand_numbers, fold, numbers_in

MOST_JOINED = 12
"""A vague title that may name more pieces than this joins none of them; it is kept out of validation and test instead."""

Key = tuple[int, bool]
"""Pitch class (C is 0), and whether it is minor."""

_FORM_STEMS = {
    "sonat": "sonata",
    "prelud": "prelude",
    "fug": "fugue",
    "etud": "etude",
    "stud": "etude",
    "scherz": "scherzo",
    "walt": "waltz",
    "ballad": "ballade",
    "impromptu": "impromptu",
    "nocturn": "nocturne",
    "mazurk": "mazurka",
    "polonais": "polonaise",
}
_FORM = re.compile(rf"\b({'|'.join(_FORM_STEMS)})")
_MODE = r"(major|minor|maj|min|moll|dur)"
_KEY = re.compile(
    rf"\bin ([a-h])(b|[\s-]?(?:flat|sharp|#))?(?:[\s-]+{_MODE})?(?![\w#])|"
    rf"\b([a-h])(b|[\s-]?(?:flat|sharp|#))?[\s-]+{_MODE}\b"
)
_PITCH_CLASSES = {"c": 0, "d": 2, "e": 4, "f": 5, "g": 7, "a": 9, "b": 11, "h": 11}


@dataclass(frozen=True)
class Description:
    """What a title says besides a work. Empty sets and None stand for nothing said."""

    composer: str
    """Family name of the original's composer."""
    words: frozenset[str]
    forms: frozenset[str]
    key: Key | None
    numbers: frozenset[str]


def describe_title(composer: str, title: str) -> Description:
    """Composer, words, forms, key (major where no mode is given), and numbers such as the 2 of `No. 2`."""
    text = fold(title)
    return Description(
        composer=composer_key(composer),
        words=frozenset(re.findall(r"\w+", text)),
        forms=frozenset(_FORM_STEMS[stem] for stem in _FORM.findall(text)),
        key=_key(text),
        numbers=frozenset(number for listed in numbers_in(text) for number in expand_numbers(listed)),
    )


def may_name(vague: Description, piece: Sequence[Description]) -> bool:
    """Whether a vague title may name the music of a piece with these titles.

    Some title must have the same composer (or name that composer), have all forms of the vague title and not contradict its
    numbers. Where any title of the piece states a key, one of them must have the vague title's key.
    """
    keys = {title.key for title in piece if title.key}
    if vague.key and keys and vague.key not in keys:
        return False
    return any(
        (vague.composer == title.composer or vague.composer in title.words)
        and vague.forms <= title.forms
        and not (vague.numbers and title.numbers and vague.numbers.isdisjoint(title.numbers))
        for title in piece
    )


def _key(text: str) -> Key | None:
    match = _KEY.search(text)
    if not match:
        return None
    letter, accidental, mode = match.group(1, 2, 3) if match[1] else match.group(4, 5, 6)
    pitch_class = _PITCH_CLASSES[letter]
    if letter == "b" and mode in ("moll", "dur"):  # German names: B is B flat, H is B
        pitch_class -= 1
    if accidental:
        pitch_class += 1 if accidental.strip(" -") in ("sharp", "#") else -1
    return pitch_class % 12, bool(mode) and mode.startswith(("min", "mol"))
