"""The pages with sound in a real Chromium: the page opens, plays and seeks, and the sound's time is the roll's."""

import json

import numpy as np
import pytest

from keybed.experiments.hearing.config import ListenConfig
from keybed.experiments.hearing.listen import listen

pytestmark = pytest.mark.browser

POLLS = 5_000


@pytest.fixture(scope="module")
def address(finished_placeholder_store, tmp_path_factory) -> str:
    out = tmp_path_factory.mktemp("a page, with spaces & more")
    return listen(ListenConfig(finished_placeholder_store, out, axes=("timing", "tone"))).page.as_uri()


both_widths = pytest.mark.parametrize("page", [(1280, 900), (390, 844)], ids=["1280", "390"], indirect=True)


@pytest.fixture
def page(request, chromium, address):
    width, height = getattr(request, "param", (1280, 900))
    context = chromium.new_context(viewport={"width": width, "height": height})
    made = context.new_page()
    made.set_default_timeout(1_800_000)
    made.troubles, made.asked = [], []
    made.on("pageerror", lambda error: made.troubles.append(str(error)))
    made.on("console", lambda message: made.troubles.append(message.text) if message.type == "error" else None)
    made.on("request", lambda request: made.asked.append(request.url))
    made.goto(address)
    yield made
    context.close()


def until(page, holds):
    for _ in range(POLLS):
        if page.evaluate(holds):
            return
        page.wait_for_timeout(20)
    pytest.fail(f"{holds} never held")


CLOCK = "Keybed.groups.find(g => g.name === 'timing').clock"
ROLL = "Keybed.groups.find(g => g.name === 'timing').rolls[0]"


def cursor_s(page) -> float:
    """Where the cursor stands on the first roll, in seconds, from its place on the screen."""
    return page.evaluate(
        f"""(() => {{
          const roll = {ROLL}, at = roll.cursor.getBoundingClientRect(), from = roll.canvas.getBoundingClientRect().left;
          const x = at.left + at.width / 2 - from;
          return (x - roll.x(0)) / (roll.x(10) - roll.x(0)) * 10;
        }})()"""
    )


@both_widths
def test_it_opens_whole_and_fits(page):
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
    assert page.troubles == []
    assert len(page.asked) == 1
    low = "[...document.querySelectorAll('button, select')].filter(b => b.offsetParent && b.offsetHeight < 44).length"
    assert page.evaluate(low) == 0
    drawn = f"""(() => {{ const c = {ROLL}.canvas; const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
      let n = 0; for (let i = 3; i < d.length; i += 4) n += d[i] > 0; return n; }})()"""
    assert page.evaluate(drawn) > 500


@both_widths
def test_it_plays_the_cursor_moves_with_the_sound_and_switching_does_not_stop(page):
    page.locator("#timing .play").click()
    until(page, f"{CLOCK}.time > 0.5")
    first = cursor_s(page)
    page.keyboard.press("4")
    assert page.evaluate(f"{CLOCK}.playing")
    assert page.evaluate(f"{CLOCK}.chosen") == 3
    until(page, f"{CLOCK}.time > 1.2")
    now, shown = page.evaluate(f"{CLOCK}.time"), cursor_s(page)
    assert shown > first
    assert abs(shown - now) < 0.3  # one frame of a busy machine
    gains = page.evaluate(f"{CLOCK}.nodes.map(n => n.gain.gain.value)")
    assert gains == pytest.approx([0, 0, 0, 1], abs=0.01)
    page.keyboard.press("Space")  # the play button has the focus: the browser presses it
    until(page, f"!{CLOCK}.playing")
    assert abs(page.evaluate(f"{CLOCK}.time") - cursor_s(page)) < 0.02
    assert page.troubles == []


def test_only_one_box_sounds(page):
    page.locator("#timing .play").click()
    until(page, f"{CLOCK}.playing")
    page.locator("#tone .play").click()
    until(page, "Keybed.groups.find(g => g.name === 'tone').clock.playing")
    assert not page.evaluate(f"{CLOCK}.playing")


@both_widths
def test_a_click_on_the_roll_and_the_keys_seek(page):
    box = page.locator("#timing .roll").first
    box.scroll_into_view_if_needed()
    place = box.bounding_box()
    target = page.evaluate(f"{ROLL}.x(6)")
    page.mouse.click(place["x"] + 1 + target, place["y"] + 60)
    assert page.evaluate(f"{CLOCK}.time") == pytest.approx(6, abs=0.05)
    assert cursor_s(page) == pytest.approx(6, abs=0.05)
    box.focus()
    for key, seconds in (("ArrowRight", 7), ("Shift+ArrowLeft", 6.9), ("Home", 0), ("ArrowLeft", 0)):
        page.keyboard.press(key)
        assert page.evaluate(f"{CLOCK}.time") == pytest.approx(seconds, abs=0.05)
    assert box.get_attribute("aria-valuenow") == "0.0"


def test_the_sounds_time_is_the_rolls(page):
    """The first note of the roll after a silence, where there is one, begins in the decoded sound where the roll draws it."""
    page.locator("#timing .play").click()
    until(page, f"{CLOCK}.playing")
    envelope = page.evaluate(
        f"""(() => {{ const b = {CLOCK}.buffers[0], d = b.getChannelData(0), n = Math.round(b.sampleRate / 200), out = [];
          for (let i = 0; i + n <= d.length; i += n) {{ let e = 0; for (let k = 0; k < n; k++) e += d[i + k] ** 2; out.push(e / n); }}
          return {{ out, seconds: b.duration }}; }})()"""
    )
    assert envelope["seconds"] == pytest.approx(10, abs=1e-3)
    energy = np.log(np.array(envelope["out"]) + 1e-9)
    rise = np.maximum(np.diff(energy, prepend=energy[0]), 0)
    data = json.loads(page.locator('script.group-data[data-for="timing"]').text_content())
    onset_ms = np.array(sorted({on for on, _, _, _, _ in data["rolls"][0]["notes"] if 500 < on < 9500}))
    train = np.zeros(rise.size)
    train[(onset_ms / 5).astype(int)] = 1
    lags = range(-40, 41)  # steps of 5 ms
    agreement = [float(np.dot(np.roll(train, lag), rise)) for lag in lags]
    assert abs(5 * list(lags)[int(np.argmax(agreement))]) <= 20


def test_the_blind_test_counts_and_keeps_its_tally(page):
    page.locator("#blind").scroll_into_view_if_needed()
    say = page.locator("#blind .say")
    assert say.first.is_disabled()
    for number in range(2):
        if number:
            page.locator("#blind-new").click()
        page.locator("#blind .choose").first.click()
        until(page, "Keybed.groups.find(g => g.name === 'blind').clock.time > 0.1")
        page.locator("#blind .choose").nth(1).click()
        until(page, "!document.querySelector('#blind .say').disabled")
        say.first.click()
        until(page, "document.getElementById('blind-answer').textContent.length > 5")
        words = page.locator("#blind-answer").inner_text()
        assert words.startswith("Right. X" if words.startswith("Right") else "Wrong. Y")
        assert say.first.is_disabled()
    tally = "[...document.querySelectorAll('#blind-tally tr')].map(r => [...r.cells].map(c => c.textContent))"
    rows = page.evaluate(tally)
    assert int(rows[-1][2]) == 2
    page.reload()
    assert page.evaluate(tally) == rows
    page.locator("#blind-clear").click()
    assert page.evaluate(tally) == [["all", "0", "0"]]
    assert page.troubles == []


def test_nothing_tells_which_one_is_degraded(page):
    """Neither the words nor the order of the sounds in a blind pair, over several pairs."""
    sides = set()
    for _ in range(12):
        page.locator("#blind-new").click()
        assert page.locator("#blind-answer").inner_text() == ""
        clock = "Keybed.groups.find(g => g.name === 'blind').clock"
        pristine = page.evaluate(
            f"""(() => {{ const texts = [...document.querySelectorAll('[id="timing-0"], [id="tone-0"]')].map(s => s.textContent);
              return {clock}.sounds.map(s => texts.includes(s())); }})()"""
        )
        assert sum(pristine) == 1
        sides.add(tuple(pristine))
    assert len(sides) == 2
