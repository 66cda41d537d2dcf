"""The sentence of a term: on hover, on focus, on tap; and a table that scrolls on a phone says so."""

from __future__ import annotations

import pytest

from keybed.experiments.reports.page import Page, Section, Table, write_page

pytestmark = pytest.mark.browser
SENTENCE = "How strongly a row is degraded"


@pytest.fixture
def report(tmp_path):
    table = Table([f"column {i}" for i in range(9)], [["0.412 (0.380 to 0.441)"] * 9], numeric=range(9))
    cards = [Section(f"Card {i}", "Plain.", ["A text on every tier."], tables=[table], wide=True) for i in range(9)]
    cards.append(Section("Last", "Plain.", tables=[Table(["a", "b"], [["1", "2"]])], wide=True))
    page = Page("a title", "GO", "GO", ["the gate"], [], None, [], cards)
    return write_page(page, tmp_path / "report.html").as_uri()


def test_hover_and_focus_show_a_sentence_and_escape_hides_it(chromium, report):
    page = chromium.new_page(viewport={"width": 1000, "height": 700})
    page.goto(report)
    box, mark = page.locator("#term-shown"), page.locator("a.term", has_text="tier").first
    assert not box.is_visible()
    mark.hover()
    assert box.inner_text().startswith(SENTENCE)
    page.keyboard.press("Escape")
    assert not box.is_visible()
    page.mouse.move(1, 1)
    page.keyboard.press("Tab")
    assert box.inner_text().startswith("A phase's decision")  # the first term of the page has the focus
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == "#term-gate"
    assert not box.is_visible()
    page.close()


def test_a_tap_shows_the_sentence_within_the_screen_and_a_second_one_leads_to_the_glossary(chromium, report):
    context = chromium.new_context(viewport={"width": 390, "height": 700}, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(report)
    box, mark = page.locator("#term-shown"), page.locator("a.term", has_text="tier").nth(2)
    mark.scroll_into_view_if_needed()
    page.wait_for_timeout(100)
    mark.tap()
    assert box.inner_text().startswith(SENTENCE)
    at = box.bounding_box()
    assert at["x"] >= 0
    assert at["x"] + at["width"] <= 390
    assert page.evaluate("location.hash") == ""
    mark.tap()
    assert page.evaluate("location.hash") == "#term-tier"
    context.close()


def test_a_table_that_scrolls_says_so_and_takes_the_focus(chromium, report):
    page = chromium.new_page(viewport={"width": 390, "height": 900})
    page.goto(report)
    wide, narrow = page.locator(".scroll").first, page.locator(".scroll").last
    assert wide.get_attribute("class") == "scroll more"
    assert (wide.get_attribute("tabindex"), wide.get_attribute("role")) == ("0", "region")
    assert narrow.get_attribute("class") == "scroll"
    assert narrow.get_attribute("tabindex") is None
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.close()
