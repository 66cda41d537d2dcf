"""Read the free text of composer and title into paths of work, number and movement."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

WorkPath = tuple[str, ...]
"""(composer, work, number or movement, …); a shorter path names all music of the paths that begin with it."""


@dataclass(frozen=True)
class Title:
    """The works that a title names; `vague` where it names at most a form and a key."""

    paths: frozenset[WorkPath]
    vague: bool = False


_WRONG_COMPOSER = {
    ("chopin", 'variations and fugue in e-flat major, op. 35, "eroica"'): "beethoven",
    ("chopin", "preludes, book ii, l 123, vi. general lavine - eccentric"): "debussy",
}
"""Composers that the CSV gives wrongly: (composer, title) → composer."""
_COUNTED_UP = {
    ("c major", 840, 843): 840,
    ("a minor", 845, 848): 845,
    ("g major", 894, 897): 894,
    ("c minor", 958, 961): 958,
    ("a", 959, 962): 959,
    ("a major", 959, 962): 959,
    ("bb", 960, 963): 960,
    ("b-flat major", 960, 963): 960,
}
"""MAESTRO numbers the files of some Schubert sonatas with rising D numbers: (key, first, last) → the right number."""

_CATALOGUE = re.compile(
    r"\b(?P<name>op(?:us|\.? posth)?|bwv|hwv|woo|bv|rv|kv?|[dslmzr])\.?\s*(?P<work>\d+)(?P<letter>[a-c]\b)?"
    r"(?:(?:/|\s)(?P<sub>\d+)\b(?!\s*(?:st|nd|rd|th)\b))?"
)
_HOBOKEN = re.compile(r"\bhob\.?\s*(?P<group>[ivx]+)\s*[:/]\s*(?P<work>\d+)")
_NUMBERS = re.compile(r"\bn(?:o|r)s?\.?\s*(\d+\b(?:\s*(?:,|and|-)\s*(?:no\.?\s*)?\d+\b)*)")
_ONCE_MORE = re.compile(
    r"(?:(?<=[\s,;:(\[-])(?:repeat(?:ed)?|again|bis|encore|(?:take|version|performance|recording|attempt)\s*(?:no\.?\s*)?\d+"
    r"|(?:first|second|third|fourth|\d(?:st|nd|rd|th))\s+(?:take|time|performance|version|recording|attempt))"
    r"|[(\[]\d[)\]])[\s.)\]]*$"
)
"""What players add to a title that they record several times: "X repeat", "X (take 2)", "X (2)"."""
_ORDINALS = {"first": 1, "second": 2, "third": 3, "fourth": 4}
_ORDINAL_MOVEMENT = re.compile(r"\b((?:(?:\d(?:st|nd|rd|th)|first|second|third|fourth)[\s,]*(?:and\s+)?)+)mov")
_ROMAN = {"i": 1, "ii": 2, "iii": 3, "iv": 4, "v": 5, "vi": 6, "vii": 7, "viii": 8, "ix": 9, "x": 10}
_ROMAN_MOVEMENT = re.compile(r"(?:,|and)\s+(i{1,3}|iv|vi{0,3}|ix|x)(?:\.|\s+-(?=\s))(?=\s|$)")
_SERIES = re.compile(
    r"\b(?P<form>sonata|ballade|scherzo|concerto|rhapsody|partita|english suite|french suite|transcendental etude)s?"
    r",?\s+(?:no\.?\s*)?(?P<number>\d+)\b(?!\.)(?:-(?P<movement>\d+)\b)?"
)
_NUMBERED_APART_FROM_OPUS = re.compile(r"\b(?:sonatas?|ballades?|scherzos?|concertos?|partitas?|suites?)\b")
_KEY = re.compile(r"\b([a-g])(?:[\s-]?(flat|sharp|#))?[\s-]+(major|minor)\b")
_WELL_TEMPERED = re.compile(r"\b(?:wt[ck]|book)\s*(ii|i)\b")
_QUOTED = re.compile(r'"([^"]{4,})"')
_NOISE = re.compile(r"\((?:complete|selections?)\)|\b(?:the|le|la|les|l'|der|die|das|from|a|an)(?:\b|(?<='))")
_LETTER_OR_NUMBER = re.compile(r"\w|[a-h][b#]|\d+")
_FORMS = frozenset(
    re.findall(
        r"\w+",
        "prelude preludes fugue and in sonata sonatas etude etudes scherzo waltz waltzes study piece pieces two three "
        "four five preludio selections ballade impromptu nocturne mazurka polonaise book no nos i ii major minor maj min "
        "fuga fugues studies scherzos scherzi ballades impromptus nocturnes mazurkas polonaises flat sharp moll dur",
    )
)


def fold(text: str) -> str:
    """Lower-case ASCII with one kind of quote, dash and space, so that spellings compare equal."""
    plain = re.sub(r"[“”«»„]", '"', text)
    plain = re.sub(r"[‘’´`]", "'", plain).replace("–", "-").replace("&", " and ").replace("_", " ")
    plain = unicodedata.normalize("NFKD", plain).encode("ascii", "ignore").decode()
    return " ".join(plain.lower().split())


def composer_key(composer: str) -> str:
    """Family name of the first composer; an arrangement counts as the original work."""
    words = fold(composer.split("/")[0]).split()
    return words[-1] if words else "unknown"


def numbers_in(text: str, begin: int = 0, end: int | None = None) -> list[str]:
    """The lists of numbers that follow "No." in folded text, such as ["2, 4 and 5"]."""
    return _NUMBERS.findall(text, begin, len(text) if end is None else end)


def without_once_more(title: str) -> str:
    """The folded title without what a player adds for another take: `Valse_(take 2)` is `valse`."""
    text = fold(title)
    return _ONCE_MORE.sub("", text).rstrip(" ,;:-([") or text


def read_title(composer: str, title: str) -> Title:
    """All paths that the title names; at least one. A word at its end that says "once more" is no part of it."""
    text = without_once_more(title)
    composer_name = _WRONG_COMPOSER.get((composer_key(composer), text), composer_key(composer))
    works = _works(composer_name, text)
    series = _SERIES.search(text)
    if series:
        works.add((f"{series['form']} {series['number']}",))
    if len(works) <= 1:
        works |= {(name,) for name in _names(text)}
    vague = False
    if not works:
        words = _words(_ROMAN_MOVEMENT.sub(" ", _ORDINAL_MOVEMENT.sub(" ", text)))
        vague = all(word in _FORMS or _LETTER_OR_NUMBER.fullmatch(word) for word in words.split())
        works = {(words or text or "untitled",)}
    parts = _movements(text) or ([series["movement"]] if series and series["movement"] else [])
    return Title(
        frozenset((composer_name, *work, *([part] if part else [])) for work in works for part in parts or [""]), vague
    )


def _works(composer_name: str, text: str) -> set[WorkPath]:
    if composer_name == "bach" and (well_tempered := _well_tempered(text)):
        return {well_tempered}
    hoboken: set[WorkPath] = {(f"hob {match['group']}:{match['work']}",) for match in _HOBOKEN.finditer(text)}
    if hoboken:
        return hoboken
    catalogued = list(_CATALOGUE.finditer(text))
    if not catalogued:
        return set()
    after = numbers_in(text, catalogued[0].end())
    numbers = [number for listed in after[:1] for number in expand_numbers(listed)]
    numbers = numbers or [match["sub"] for match in catalogued if match["sub"]]
    if not numbers and not _NUMBERED_APART_FROM_OPUS.search(text):
        numbers = [
            number for listed in numbers_in(text, 0, catalogued[0].start())[:1] for number in expand_numbers(listed)
        ]
    works: set[WorkPath] = set()
    for match in catalogued:
        name = {"opus": "op", "kv": "k"}.get(match["name"], match["name"])
        work = _corrected_number(composer_name, text, name, int(match["work"]))
        path = f"{name} {work}{match['letter'] or ''}"
        works |= {(path, number) for number in numbers} or {(path,)}
    return works


def _corrected_number(composer_name: str, text: str, name: str, work: int) -> int:
    if (
        composer_name == "schubert"
        and name == "d"
        and (named := re.search(r"\bin ([a-g](?:b|-flat)?(?: major| minor)?)\b", text))
    ):
        for (key, first, last), number in _COUNTED_UP.items():
            if key == named[1] and first <= work <= last:
                return number
    return work


def _well_tempered(text: str) -> WorkPath | None:
    """Book and number in the Well-Tempered Clavier: from book and key (they win over a BWV number), else from BWV 846–893."""
    bwv, book, key = re.search(r"\bbwv\s*(\d+)", text), _WELL_TEMPERED.search(text), _KEY.search(text)
    fugue, prelude = "fug" in text, "prelude" in text
    if not (fugue or prelude):
        return None
    number = re.search(r"\bno\. (\d+)", text)
    if book and key:
        pitch_class = {"c": 0, "d": 2, "e": 4, "f": 5, "g": 7, "a": 9, "b": 11}[key[1]]
        pitch_class += {"flat": -1, "sharp": 1, "#": 1, None: 0}[key[2]]
        index = 2 * (pitch_class % 12) + (key[3] == "minor")
        work = f"wtc {len(book[1])}/{index + 1}"
    elif book and number:
        work = f"wtc {len(book[1])}/{number[1]}"
    elif bwv and 846 <= int(bwv[1]) <= 893:
        work = f"wtc {1 + (int(bwv[1]) >= 870)}/{(int(bwv[1]) - 846) % 24 + 1}"
    else:
        return None
    return (work,) if fugue and prelude else (work, "fugue" if fugue else "prelude")


def expand_numbers(listed: str) -> list[str]:
    """`2, 4 and 6-8` as ["2", "4", "6", "7", "8"]."""
    numbers: list[str] = []
    for part in re.split(r",|and", listed):
        ends = [int(n) for n in re.findall(r"\d+", part)]
        if ends:
            numbers += [str(n) for n in range(ends[0], ends[-1] + 1)]
    return numbers


def _movements(text: str) -> list[str]:
    if ordinal := _ORDINAL_MOVEMENT.search(text):
        return [
            str(_ORDINALS.get(word) or int(word[0])) for word in re.findall(r"\d(?=st|nd|rd|th)|[a-z]{5,}", ordinal[1])
        ]
    return [str(_ROMAN[roman]) for roman in _ROMAN_MOVEMENT.findall(text)]


def _names(text: str) -> set[str]:
    names = {_words(quoted) for quoted in _QUOTED.findall(text)}
    catalogued = _CATALOGUE.search(text) or _HOBOKEN.search(text)
    if not catalogued and "," in text.partition(":")[2]:
        names |= {_words(part) for part in text.partition(":")[2].split(",")}
    return {name for name in names if name and not all(word in _FORMS for word in name.split())}


def _words(text: str) -> str:
    plain = re.sub(r"[^a-z0-9#]+", " ", _NOISE.sub(" ", text))
    return " ".join(re.sub(r"([aou])e(?=[b-df-hj-np-tv-z])", r"\1", plain).split())
