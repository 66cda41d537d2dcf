"""The page of a scored recording in a real Chromium: it plays, the cursor moves over the timeline and the rolls, a click seeks."""

import numpy as np
import pytest
import soundfile

from keybed.experiments.scoring.report import write_report
from tests.experiments.scoring.made_scores import CLICK_S, make_results

pytestmark = pytest.mark.browser

POLLS = 5_000
CLOCK = "Keybed.groups.find(g => g.name === 'file').clock"
ROLLS = "Keybed.groups.find(g => g.name === 'file').rolls"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("scores of 'mine' & more")
    write_report(make_results("a.mid"), out)
    return out


@pytest.fixture(params=[(1280, 900), (390, 844)], ids=["1280", "390"])
def page(request, chromium, folder):
    width, height = request.param
    context = chromium.new_context(viewport={"width": width, "height": height})
    made = context.new_page()
    made.set_default_timeout(1_800_000)
    made.troubles = []
    made.on("pageerror", lambda error: made.troubles.append(str(error)))
    made.on("console", lambda message: made.troubles.append(message.text) if message.type == "error" else None)
    made.goto((folder / "report.html").as_uri())
    yield made
    context.close()


def until(page, holds):
    for _ in range(POLLS):
        if page.evaluate(holds):
            return
        page.wait_for_timeout(20)
    pytest.fail(f"{holds} never held")


def cursor_s(page, number: int) -> float:
    """Where the cursor of a roll stands on the screen, in seconds. 0: the whole, 1: the detail."""
    return page.evaluate(
        f"""(() => {{
          const roll = {ROLLS}[{number}], at = roll.cursor.getBoundingClientRect();
          const x = at.left + at.width / 2 - roll.canvas.getBoundingClientRect().left, [from, to] = roll.view;
          return from + (x - roll.x(from)) / (roll.x(to) - roll.x(from)) * (to - from);
        }})()"""
    )


def test_it_plays_seeks_and_shows_the_scores_of_what_sounds(page, folder):
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
    until(page, "document.querySelector('audio').readyState >= 2")
    place = page.locator(".overview").bounding_box()
    page.locator(".overview").scroll_into_view_if_needed()
    place = page.locator(".overview").bounding_box()
    x = page.evaluate(f"{ROLLS}[0].x({CLICK_S})")
    page.mouse.click(place["x"] + 1 + x, place["y"] + 40)
    width_s = 40 / place["width"]  # one pixel
    assert page.evaluate(f"{CLOCK}.time") == pytest.approx(CLICK_S, abs=2 * width_s)
    assert cursor_s(page, 0) == pytest.approx(CLICK_S, abs=2 * width_s)
    assert cursor_s(page, 1) == pytest.approx(CLICK_S, abs=2 * width_s)
    # The note that is drawn at the cursor is where the sound of the file becomes loud.
    audio, rate = soundfile.read(folder / "sound.flac")
    assert np.argmax(np.abs(audio) > 0.1) / rate == pytest.approx(CLICK_S, abs=0.002)
    notes = page.evaluate(f"{ROLLS}[0].data.notes.map(n => n[0])")
    assert 1000 * CLICK_S in notes
    assert page.locator(".now caption").inner_text().startswith("Scores of the passage from 0:02.0 to 0:12.0")
    assert page.locator(".now tbody tr").nth(0).inner_text().split("\t")[1:] == ["88", "79–96"]
    assert page.locator(".now tbody tr").nth(3).inner_text().split("\t")[1].startswith("not judged")
    page.locator(".play").click()
    until(page, f"{CLOCK}.time > {CLICK_S} + 0.5")
    shown = cursor_s(page, 0)
    assert abs(shown - page.evaluate(f"{CLOCK}.time")) < 0.5
    assert shown > CLICK_S + 0.3
    page.keyboard.press("Home")
    until(page, f"{CLOCK}.time < 5")
    assert page.troubles == []


def test_a_passage_is_played_and_the_detail_turns_its_page(page):
    until(page, "document.querySelector('audio').readyState >= 2")
    page.locator(".passage button").first.click()
    until(page, f"{CLOCK}.playing && {CLOCK}.time > 28.1")
    assert page.evaluate(f"{ROLLS}[1].view") == [20, 40]
    assert 28 <= page.evaluate(f"{CLOCK}.time") < 39
    page.evaluate("document.querySelector('audio').currentTime = 37.5")
    until(page, f"!{CLOCK}.playing")
    assert page.evaluate(f"{CLOCK}.time") < 39
    assert page.troubles == []
