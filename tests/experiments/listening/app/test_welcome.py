"""Consent over HTTP and offline, and the welcome page in a real Chromium."""

import asyncio
import dataclasses
import json

import httpx
import pytest
import soundfile

from keybed.experiments.listening.app.database import Database
from keybed.experiments.listening.app.offline import read_result, write_offline
from keybed.experiments.listening.app.rating_set import NotARatingSet, read_set, write_set
from keybed.experiments.listening.app.ratings import InvalidRating
from keybed.experiments.listening.app.server import build_app
from keybed.experiments.listening.app.welcome import Welcome
from keybed.store.format.vocabulary import DIMENSIONS

CONSENT = "We keep your ratings for 10 years.\n\nYou may stop at any time."
RATING = {"save_id": "save-0001", "edit": 1, "scores": {}, "done": False, "listened_s": 0.0, "plays": 0}


@pytest.fixture
def asking_set(rating_set):
    """The rating set with a text of consent, a contact and the check of the volume; its practice clip shows the pedal."""
    (rating_set.folder / "check").mkdir()
    for name, clip in (("quiet", "aaaaaaaa"), ("loud", "bbbbbbbb")):
        sound, rate = soundfile.read(rating_set.audio(clip))
        soundfile.write(rating_set.folder / "check" / f"{name}.flac", sound, rate)
    welcome = Welcome(CONSENT, "ann@example.org", check=True)
    made = dataclasses.replace(rating_set, welcome=welcome, shows={"aaaaaaaa": "pedal_technique"})
    write_set(made)
    return made


def ask(app, method: str, path: str, **body) -> httpx.Response:
    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app=app, client=("127.0.0.1", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.request(method, path, **body)

    return asyncio.run(send())


def test_a_set_reads_back_and_an_older_one_asks_for_nothing(asking_set):
    assert read_set(asking_set.folder) == asking_set
    file = asking_set.folder / "set.json"
    plain = json.loads(file.read_text())
    del plain["welcome"], plain["shows"]
    file.write_text(json.dumps(plain))
    older = read_set(asking_set.folder)
    assert (older.welcome, older.shows) == (Welcome(), {})


@pytest.mark.parametrize(
    "damage", [{"welcome": {"consents": ""}}, {"welcome": 3}, {"shows": {"aaaaaaaa": "the_hands"}}, {"shows": [1]}]
)
def test_a_damaged_welcome_is_named(asking_set, damage):
    file = asking_set.folder / "set.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | damage))
    with pytest.raises(NotARatingSet, match=r"damaged|unknown dimensions"):
        read_set(asking_set.folder)


def test_no_rating_is_stored_before_the_rater_agrees(asking_set):
    database = Database(asking_set.database)
    app = build_app(asking_set, database)
    link = f"/r/{asking_set.tokens['ann']}"
    assert ask(app, "PUT", f"{link}/ratings/1", json=RATING).status_code == 403
    assert database.current("ann") == {}
    assert ask(app, "PUT", f"{link}/consent/{'0' * 64}").status_code == 409
    assert ask(app, "GET", f"{link}/session.json").json()["welcome"]["agreed"] is False
    for _ in range(2):
        assert ask(app, "PUT", f"{link}/consent/{asking_set.welcome.consent_sha256}").json() == {"agreed": True}
    assert ask(app, "GET", f"{link}/session.json").json()["welcome"]["agreed"] is True
    assert ask(app, "PUT", f"{link}/ratings/1", json=RATING).status_code == 200
    other = f"/r/{asking_set.tokens['ben']}"
    assert ask(app, "PUT", f"{other}/ratings/1", json=RATING).status_code == 403
    changed = dataclasses.replace(asking_set, welcome=Welcome("Another text."))
    assert ask(build_app(changed, database), "PUT", f"{link}/ratings/1", json=RATING).status_code == 403


def test_the_check_serves_two_clips_and_no_other_path(asking_set, rating_set):
    app = build_app(asking_set, Database(asking_set.database))
    link = f"/r/{asking_set.tokens['ann']}"
    assert ask(app, "GET", f"{link}/check/quiet.flac").headers["content-type"] == "audio/flac"
    for name in ("middle", "..%2f..%2fprivate%2ftokens.json", "set"):
        assert ask(app, "GET", f"{link}/check/{name}.flac").status_code == 404
    plain = build_app(rating_set, Database(rating_set.database))
    assert ask(plain, "GET", f"{link}/check/quiet.flac").status_code == 404


def test_a_returned_file_without_the_agreement_is_refused(asking_set, tmp_path):
    file = tmp_path / "ratings ann.json"
    content = {"format": "keybed-ratings-1", "set_id": "set-1", "token": asking_set.tokens["ann"], "ratings": {}}
    file.write_text(json.dumps(content))
    with pytest.raises(InvalidRating, match="ann has not agreed to the text of consent"):
        read_result(file, asking_set)
    file.write_text(json.dumps(content | {"consent_sha256": asking_set.welcome.consent_sha256}))
    assert read_result(file, asking_set) == ("ann", {})


def until(page, holds):
    for _ in range(10_000):
        if page.evaluate(holds):
            return
        page.wait_for_timeout(20)
    pytest.fail(f"{holds} never held; the page shows {page.locator('body').inner_text()[:200]!r}")


@pytest.mark.browser
@pytest.mark.parametrize("offline", [False, True])
def test_the_way_from_welcome_to_the_end(asking_set, chromium, listen, offline, tmp_path):
    page = chromium.new_context(viewport={"width": 390, "height": 844}).new_page()
    page.set_default_timeout(1_800_000)
    troubles = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    database = Database(asking_set.database)
    with listen(build_app(asking_set, database)) as server:
        link = f"{server}/r/{asking_set.tokens['ann']}/"
        page.goto((write_offline(asking_set, tmp_path / "s")["ann"] / "index.html").as_uri() if offline else link)
        until(page, "document.getElementById('where').textContent === 'Before you begin'")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        words = page.locator("#welcome").inner_text()
        assert "2 short clips, after 1 practice clip" in words
        assert "about 5 minutes" in words
        assert "ann@example.org" in words
        assert page.locator("#consent-words p").all_text_contents() == CONSENT.split("\n\n")
        page.click("#begin")
        until(page, "document.getElementById('welcome-notice').textContent.includes('both clips')")
        for name in ("quiet", "loud"):
            page.click(f"#{name}")
            until(page, f"document.getElementById('audio').src.endsWith('check/{name}.flac')")
            until(page, "document.getElementById('audio').ended")
        page.check("#heard")
        page.click("#begin")
        until(page, "document.getElementById('welcome-notice').textContent.includes('consent')")
        page.check("#agreed")
        page.click("#begin")
        until(page, "document.getElementById('where').textContent === 'Practice 1 of 1'")
        assert "for pedal" in page.locator("#shows").inner_text()
        assert page.locator(".scale.shown").get_attribute("data-name") == "pedal_technique"
        page.reload()  # the welcome is not shown a second time
        until(page, "document.getElementById('where').textContent === 'Practice 1 of 1'")
        page.click("#back")
        until(page, "document.getElementById('where').textContent === 'Before you begin'")
        page.click("#begin")
        for _ in range(3):
            until(page, "!document.getElementById('main').hidden")
            page.keyboard.press("r")
            until(page, "document.getElementById('hint').textContent.startsWith('Heard')")
            for i in range(len(DIMENSIONS)):
                page.keyboard.press(str(i + 1))
                page.keyboard.press("Home")
            page.keyboard.press("Enter")
        until(page, "document.getElementById('where').textContent === 'All clips rated'")
        steps = page.locator("#end-steps li").all_text_contents()
        assert len(steps) == (5 if offline else 3)
        assert ("Download" in steps[0]) == offline
        if offline:
            with page.expect_download() as waiting:
                page.click("#download")
            waiting.value.save_as(tmp_path / "r.json")
            assert len(read_result(tmp_path / "r.json", asking_set)[1]) == 3
        else:
            until(page, "document.getElementById('saved').textContent === 'Saved'")
            assert len(database.current("ann")) == 3
    assert troubles == []
    page.context.close()
