"""Marks on the terms of a page: each leads to the glossary at the page's end, and shows its sentence on hover, focus or tap."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from markupsafe import Markup, escape

from keybed.experiments.glossary.terms import Term, anchor_of, entries, pattern

FOLDER = Path(__file__).parent
"""Has glossary.html.jinja, the card at a page's end; a page that includes it gives a `mark`."""


class Marker:
    """Marks the terms in the texts of one page, each once per card, and remembers them for the glossary."""

    def __init__(self) -> None:
        self._card: set[str] = set()
        self._page: set[str] = set()
        self._meant: dict[str, str] = {}

    def means(self, anchor: str, entry: str) -> str:
        """On this page a term stands for another entry: an interval for a conformal one. Returns the empty string."""
        self._meant[anchor] = entry
        return ""

    def begin(self) -> str:
        """Start a new card: terms are marked again. Returns the empty string, so that a template can call it."""
        self._card = set()
        return ""

    def __call__(self, text: str) -> Markup:
        """The text, escaped, with a link on the first use of each term in this card."""
        parts, end = [Markup()], 0
        for match in pattern().finditer(text):
            anchor = anchor_of(match.group())
            anchor = self._meant.get(anchor, anchor)
            if anchor in self._card:
                continue
            self._card.add(anchor)
            self._page.add(anchor)
            parts += [escape(text[end : match.start()]), _link(anchor, match.group())]
            end = match.end()
        return Markup().join([*parts, escape(text[end:])])

    def used(self) -> list[Term]:
        """The entries of all terms marked so far, by name."""
        return sorted((entries()[anchor] for anchor in self._page), key=lambda term: term.name.casefold())


def _link(anchor: str, word: str) -> Markup:
    return Markup('<a class="term" href="#term-{0}" aria-describedby="term-{0}-text">{1}</a>').format(anchor, word)


@cache
def style() -> str:
    """CSS of the marks, of the box that shows a term's sentence, and of the glossary."""
    return (FOLDER / "terms.css").read_text(encoding="utf-8")


@cache
def script() -> str:
    """The script that shows a term's sentence. Without it a mark is a link to the glossary."""
    return (FOLDER / "terms.js").read_text(encoding="utf-8")
