"""The page in a real Chromium: what a rater does, not what the code calls itself."""

import pytest

from keybed.experiments.listening.app.offline import read_result, write_offline
from keybed.store.format.vocabulary import DIMENSIONS

pytestmark = pytest.mark.browser

POLLS = 10_000
"""Waiting is counted in looks, at least 200 s of them, and not by the clock: a machine that was paused is no failure."""
HALF_AN_HOUR_MS = 1_800_000


@pytest.fixture
def new_page(chromium):
    contexts = []

    def make(width: int = 1100, height: int = 900, context=None):
        context = context or chromium.new_context(viewport={"width": width, "height": height})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(HALF_AN_HOUR_MS)
        page.troubles = []
        page.on("pageerror", lambda error: page.troubles.append(str(error)))
        page.on(
            "console",
            lambda m: page.troubles.append(m.text) if m.type == "error" and "Failed to load" not in m.text else None,
        )
        return page

    yield make
    for context in contexts:
        context.close()


def until(page, holds):
    """Look at an expression from outside (the page's own policy forbids it to evaluate strings), or call a function."""
    for _ in range(POLLS):
        if holds() if callable(holds) else page.evaluate(holds):
            return
        page.wait_for_timeout(20)
    pytest.fail(f"{holds} never held; the page shows {page.locator('body').inner_text()[:200]!r}")


def link(server, rating_set, rater):
    return f"{server}/r/{rating_set.tokens[rater]}/"


def start(page, address):
    """Open the page and leave its welcome, where it is shown."""
    page.goto(address)
    until(page, "document.getElementById('where').textContent !== 'Loading…'")
    if page.locator("#begin").is_visible():
        page.click("#begin")


def where(page, words):
    until(page, f"document.getElementById('where').textContent === {words!r}")


def wait_until_counted(page):
    """Wait until the page has counted a play to the end; the audio element says `ended` a moment before that."""
    until(page, "document.getElementById('hint').textContent.startsWith('Heard')")


def listen(page):
    page.keyboard.press("r")
    wait_until_counted(page)


def rate_by_keys(page, values):
    for i, value in enumerate(values, start=1):
        page.keyboard.press(str(i))
        page.keyboard.press("Home" if value <= 50 else "End")
        for _ in range(min(value, 100 - value)):
            page.keyboard.press("ArrowRight" if value <= 50 else "ArrowLeft")


def saved(page):
    """From the change on the page says "Saving…", so "Saved" is never left over from an earlier save."""
    until(page, "document.getElementById('saved').textContent === 'Saved'")


def test_a_whole_rating_by_keyboard(server, rating_set, database, new_page):
    page = new_page()
    start(page, link(server, rating_set, "ann"))
    given = {}
    for position, words in enumerate(["Practice 1 of 1", "Clip 1 of 2", "Clip 2 of 2"], start=1):
        where(page, words)
        listen(page)
        given[position] = [(7 * position + 11 * i) % 13 for i in range(8)]
        rate_by_keys(page, given[position])
        page.keyboard.press("Enter")
    where(page, "All clips rated")
    saved(page)
    kept = database.current("ann")
    assert {p: list(r.scores.values()) for p, r in kept.items()} == given
    assert all(r.done and r.plays >= 1 and r.listened_s >= 0.5 for r in kept.values())
    assert page.troubles == []


def test_reload_in_the_middle_comes_back_to_the_same_sliders(server, rating_set, new_page):
    page = new_page()
    start(page, link(server, rating_set, "ann"))
    where(page, "Practice 1 of 1")
    listen(page)
    rate_by_keys(page, [1, 2, 3])
    page.reload()
    where(page, "Practice 1 of 1")
    shown = page.locator(".scale output").all_text_contents()
    assert shown == ["1", "2", "3", "–", "–", "–", "–", "–"]


def test_another_browser_resumes_what_was_begun_here(server, rating_set, new_page):
    first = new_page()
    start(first, link(server, rating_set, "ann"))
    where(first, "Practice 1 of 1")
    listen(first)
    rate_by_keys(first, [4] * 8)
    first.keyboard.press("Enter")
    where(first, "Clip 1 of 2")
    rate_by_keys(first, [9])
    saved(first)
    second = new_page(390, 844)
    start(second, link(server, rating_set, "ann"))
    where(second, "Clip 1 of 2")
    assert second.locator(".scale output").first.text_content() == "9"


def test_nothing_is_lost_while_the_server_is_away(server, rating_set, database, new_page):
    page = new_page()
    start(page, link(server, rating_set, "ann"))
    where(page, "Practice 1 of 1")
    listen(page)
    saved(page)
    page.route("**/ratings/*", lambda route: route.abort())
    rate_by_keys(page, [5, 6, 7, 8, 9, 10, 11, 12])
    page.keyboard.press("Enter")
    until(page, "document.getElementById('saved').textContent.startsWith('No connection')")
    assert not database.current("ann")[1].done
    page.unroute("**/ratings/*")
    page.on("dialog", lambda dialog: dialog.accept())
    page.reload()
    where(page, "Clip 1 of 2")
    # Not what the page says: if the last try before reloading came through, it has nothing to save and says nothing.
    until(page, lambda: database.current("ann")[1].done)
    assert list(database.current("ann")[1].scores.values()) == [5, 6, 7, 8, 9, 10, 11, 12]


def test_a_save_whose_answer_got_lost_is_not_doubled(server, rating_set, database, new_page):
    page = new_page()
    start(page, link(server, rating_set, "ann"))
    where(page, "Practice 1 of 1")
    tries, away = [], True

    def lose(route):
        if not away:
            return route.continue_()
        if not tries:
            route.fetch()  # the first arrives and its answer gets lost, all others get lost on their way
        tries.append(route)
        return route.abort()

    page.route("**/ratings/*", lose)
    page.keyboard.press("1")
    page.keyboard.press("Home")
    until(page, lambda: len(tries) >= 1)
    page.keyboard.press("ArrowRight")
    for n in range(2, 30):  # a connection that is away for long: the page tries every few seconds, here at once
        while len(tries) < n:
            page.evaluate("window.dispatchEvent(new Event('online'))")
            page.wait_for_timeout(20)
    until(page, "document.getElementById('saved').textContent.startsWith('No connection')")
    away = False
    saved(page)
    assert database.current("ann")[1].scores == {"note_accuracy": 1}
    assert page.locator("#notice").is_hidden()


def test_two_raters_at_once_stay_apart(server, rating_set, database, new_page):
    pages = {rater: new_page() for rater in ("ann", "ben")}
    for rater, page in pages.items():
        start(page, link(server, rating_set, rater))
        where(page, "Practice 1 of 1")
    for i in range(1, 9):
        for rater, page in pages.items():
            page.keyboard.press(str(i))
            page.keyboard.press("Home" if rater == "ann" else "End")
    for page in pages.values():
        until(page, "document.querySelectorAll('input.unset').length === 0")
        saved(page)
    assert set(database.current("ann")[1].scores.values()) == {0}
    assert set(database.current("ben")[1].scores.values()) == {100}


def test_two_windows_of_one_rater_do_not_overwrite_each_other_silently(server, rating_set, database, new_page):
    one = new_page()
    start(one, link(server, rating_set, "ann"))
    two = new_page()
    start(two, link(server, rating_set, "ann"))
    for page in (one, two):
        where(page, "Practice 1 of 1")
    one.keyboard.press("1")
    one.keyboard.press("End")
    saved(one)
    two.keyboard.press("1")
    two.keyboard.press("Home")
    until(two, "document.getElementById('notice').textContent.includes('another window')")
    assert two.locator(".scale output").first.text_content() == "100"
    assert database.current("ann")[1].scores == {"note_accuracy": 100}


def test_go_back_and_change_and_double_click(server, rating_set, database, new_page):
    page = new_page()
    start(page, link(server, rating_set, "ann"))
    where(page, "Practice 1 of 1")
    listen(page)
    rate_by_keys(page, [5] * 8)
    page.locator("#next").dblclick()
    where(page, "Clip 1 of 2")  # the second click found an unrated clip and went nowhere
    page.locator("#back").click()
    where(page, "Practice 1 of 1")
    page.keyboard.press("8")
    page.keyboard.press("ArrowRight")
    page.locator("#next").click()
    where(page, "Clip 1 of 2")
    saved(page)
    assert list(database.current("ann")[1].scores.values()) == [5] * 7 + [6]


def test_a_tap_in_the_middle_and_cannot_tell_on_a_phone(server, rating_set, database, new_page, chromium):
    context = chromium.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = new_page(context=context)
    start(page, link(server, rating_set, "ann"))
    where(page, "Practice 1 of 1")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    small = "[...document.querySelectorAll('button')].filter(b => b.offsetParent && b.offsetHeight < 44).length"
    assert page.evaluate(small) == 0
    page.locator("#play").tap()
    wait_until_counted(page)
    for i in range(7):
        page.locator(".scale input[type=range]").nth(i).tap()
    page.locator(".scale .tell").nth(7).tap()
    page.locator("#next").tap()
    where(page, "Clip 1 of 2")
    saved(page)
    scores = list(database.current("ann")[1].scores.values())
    assert all(abs(score - 50) <= 1 for score in scores[:7])
    assert scores[7] is None


def test_going_on_needs_listening_and_every_scale(server, rating_set, new_page):
    page = new_page()
    start(page, link(server, rating_set, "ann"))
    where(page, "Practice 1 of 1")
    page.keyboard.press("Enter")
    until(page, "document.getElementById('notice').textContent.includes('listen')")
    listen(page)
    rate_by_keys(page, [3] * 7)
    page.keyboard.press("Enter")
    until(page, "document.getElementById('notice').textContent.includes('Overall')")
    where(page, "Practice 1 of 1")
    assert (
        page.evaluate("document.activeElement.type") == "range"
    )  # Space plays; on the checkbox it would say "cannot tell"


def test_the_page_tells_no_answer_and_no_repeat(server, rating_set, new_page):
    page = new_page()
    with page.expect_response("**/session.json") as answer:
        start(page, link(server, rating_set, "ben"))
    text = answer.value.text()
    assert "repeat" not in text
    assert not any(clip in text for clip in rating_set.seconds)


def test_the_offline_folder_gives_one_file_that_reads_back(rating_set, new_page, tmp_path):
    folders = write_offline(rating_set, tmp_path / "static")
    page = new_page()
    asked = []
    page.on("request", lambda r: asked.append(r.url))
    address = (folders["ben"] / "index.html").as_uri()
    start(page, address)
    for words in ["Practice 1 of 1", "Clip 1 of 3", "Clip 2 of 3"]:
        where(page, words)
        listen(page)
        rate_by_keys(page, [2, 4, 6, 8, 10, 12, 14, 16])
        page.keyboard.press("Enter")
    where(page, "Clip 3 of 3")
    page.reload()  # closing and opening again loses nothing
    where(page, "Clip 3 of 3")
    listen(page)
    rate_by_keys(page, [1] * 8)
    page.keyboard.press("Enter")
    where(page, "All clips rated")
    with page.expect_download() as waiting:
        page.locator("#download").click()
    file = tmp_path / "result.json"
    waiting.value.save_as(file)
    rater, ratings = read_result(file, rating_set)
    assert rater == "ben"
    assert [list(r.scores.values()) for r in ratings.values()] == [[2, 4, 6, 8, 10, 12, 14, 16]] * 3 + [[1] * 8]
    assert all(tuple(r.scores) == DIMENSIONS and r.done for r in ratings.values())
    assert all(url.startswith(("file:", "blob:", "data:")) for url in asked)
    assert page.troubles == []
