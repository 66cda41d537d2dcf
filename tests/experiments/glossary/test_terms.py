"""One glossary: the docs' page, its copy in the package, and the marks on a page."""

import re
from pathlib import Path

import pytest

from keybed.experiments.glossary import terms
from keybed.experiments.glossary.marks import Marker

DOCS = Path(__file__).resolve().parents[3] / "docs"


def test_the_package_holds_the_docs_glossary_byte_for_byte():
    assert terms.FILE.read_bytes() == (DOCS / "glossary.md").read_bytes(), (
        "cp docs/glossary.md experiments/glossary/glossary.md"
    )


def test_every_entry_is_read_and_every_spelling_belongs_to_one():
    anchors = re.findall(r'<a id="([^"]+)">', (DOCS / "glossary.md").read_text())
    assert list(terms.entries()) == anchors
    spelt = [s.casefold() for spellings in terms.SPELLINGS.values() for s in spellings]
    assert set(terms.SPELLINGS) <= set(anchors)
    assert len(spelt) == len(set(spelt))
    for entry in terms.entries().values():
        assert re.fullmatch(r"[^\[\]*`]+[.)]", entry.text), entry


def test_texts_have_no_markdown_and_no_pointer_that_a_page_cannot_follow():
    piece = terms.entries()["piece"]
    assert piece.name == "Piece"
    assert piece.text == (
        "One composition: composer and title. All recordings of a piece are in one split, and intervals are made by resampling "
        "whole pieces."
    )
    assert terms.entries()["profile"].text.startswith("How levels are drawn. mixed: each dimension")


@pytest.mark.parametrize(
    ("text", "marked"),
    [
        ("Specific r and Plain r", ["Specific r", "Plain r"]),
        ("mean specific r, again specific r", ["specific r"]),
        ("R@1 of a row's partner", ["R@1", "row"]),
        ("fusion: cross-attention", ["fusion", "cross-attention"]),
        ("Holm’s correction", ["Holm’s correction"]),
        ("gate.json, row/soundfont, test_split, headless", []),
        ("the gate.", ["gate"]),
        ("within-passage r within the passage", ["within-passage r"]),
        ("R² of the ridge probe, out of fold", ["R²", "ridge probe", "out of fold"]),
    ],
)
def test_whole_words_are_marked_once_the_longest_first(text, marked):
    assert re.findall(r">([^<]+)</a>", Marker()(text)) == marked


def test_a_mark_leads_to_its_entry_and_text_is_escaped():
    mark = Marker()
    assert mark("a < b & tiers") == (
        'a &lt; b &amp; <a class="term" href="#term-tier" aria-describedby="term-tier-text">tiers</a>'
    )
    assert [term.anchor for term in mark.used()] == ["tier"]


def test_each_card_marks_its_terms_again():
    mark = Marker()
    assert [mark("folds").count("<a "), mark("folds").count("<a ")] == [1, 0]
    mark.begin()
    assert mark("a fold").count("<a ") == 1


def test_a_page_may_mean_another_entry_by_a_word():
    mark = Marker()
    mark.means("interval", "conformal")
    mark("its interval")
    assert [term.name for term in mark.used()] == ["Conformal interval"]
