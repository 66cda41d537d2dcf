import json
import threading

import pytest
from starlette.testclient import TestClient

from keybed.experiments.listening.app.database import DatabaseUnusable
from keybed.experiments.listening.app.limits import RateLimit
from keybed.experiments.listening.app.server import MAX_BODY_BYTES, build_app
from keybed.store.format.vocabulary import DIMENSIONS


def rating(edit=1, save_id="save-0001", **changes):
    plain = {
        "save_id": save_id,
        "edit": edit,
        "scores": dict.fromkeys(DIMENSIONS, 50),
        "done": True,
        "listened_s": 1.5,
        "plays": 1,
    }
    return plain | changes


@pytest.fixture
def client(rating_set, database):
    with TestClient(build_app(rating_set, database), base_url="http://127.0.0.1") as client:
        yield client


@pytest.fixture
def home(rating_set):
    return f"/r/{rating_set.tokens['ann']}/"


def test_saving_twice_is_saving_once(client, home, database):
    for _ in range(2):
        assert client.put(home + "ratings/1", json=rating()).json()["edit"] == 1
    assert client.put(home + "ratings/1", json=rating(2, "save-0002", done=False)).json()["edit"] == 2
    assert client.put(home + "ratings/1", json=rating()).json()["edit"] == 2  # a late copy changes nothing
    assert database.current("ann")[1].save_id == "save-0002"


def test_an_overtaken_edit_is_told_what_is_there(client, home):
    client.put(home + "ratings/1", json=rating())
    reply = client.put(home + "ratings/1", json=rating(1, "save-0009"))
    assert reply.status_code == 409
    assert reply.json()["save_id"] == "save-0001"


@pytest.mark.parametrize(
    "change",
    [
        {"scores": dict.fromkeys(DIMENSIONS, 101)},
        {"scores": dict.fromkeys(DIMENSIONS, -1)},
        {"scores": dict.fromkeys(DIMENSIONS, 50.5)},
        {"scores": dict.fromkeys(DIMENSIONS, True)},
        {"scores": dict.fromkeys(DIMENSIONS, "50")},
        {"scores": {"note_accuracy": 50}},
        {"scores": {"x'; DROP TABLE save; --": 50}, "done": False},
        {"scores": []},
        {"edit": 0},
        {"edit": 10**9},
        {"save_id": "<script>"},
        {"save_id": 5},
        {"done": "yes"},
        {"plays": -1},
        {"listened_s": float("inf")},
        {"listened_s": "1"},
        {"extra": 1},
    ],
    ids=str,
)
def test_what_is_no_rating_is_refused(client, home, database, change):
    body = json.dumps(rating() | change)
    reply = client.put(home + "ratings/1", content=body, headers={"content-type": "application/json"})
    assert reply.status_code == 422
    assert database.current("ann") == {}


def test_bodies_are_json_and_small(client, home):
    send = {"content-type": "application/json"}
    assert client.put(home + "ratings/1", content=b"{" * 5000, headers=send).status_code == 422
    assert client.put(home + "ratings/1", content=b" " * (MAX_BODY_BYTES + 1), headers=send).status_code == 413
    assert client.put(home + "ratings/1", content=b"{}", headers={"content-type": "text/plain"}).status_code == 415


@pytest.mark.parametrize(
    "path",
    [
        "audio/0.flac",
        "audio/99.flac",
        "audio/../private/tokens.json",
        "audio/%2e%2e%2fprivate%2ftokens.json",
        "audio/aaaaaaaa.flac",
        "ratings/9",
        "set.json",
        "../../page/../app.py",
        "../../page/%2e%2e/app.py",
        "../../page/..%2f..%2frating_set.py",
        "../../private/answers.json",
    ],
)
def test_no_path_leads_out(client, home, path):
    assert client.get(home + path).status_code in (404, 405)


def test_sound_can_be_asked_for_in_parts(client, home):
    whole = client.get(home + "audio/1.flac")
    part = client.get(home + "audio/1.flac", headers={"range": "bytes=0-99"})
    assert (whole.status_code, part.status_code) == (200, 206)
    assert part.content == whole.content[:100]
    assert whole.headers["content-type"] == "audio/flac"


def test_other_hosts_and_unknown_links_are_refused(client, rating_set, database):
    home = f"/r/{rating_set.tokens['ann']}/"
    assert client.get(home, headers={"host": "evil.example"}).status_code == 400
    assert client.get("/r/nobody/").status_code == 404
    codes = [client.get(f"/r/guess-{i}/session.json").status_code for i in range(40)]
    assert codes[-1] == 429
    assert client.get(home).status_code == 200  # a known link is not locked out by strangers on the same address


def test_no_request_is_an_error_of_the_server(client, home):
    """Positions are plain numbers from 1 on, written in one way; anything else is no page."""
    for position in ("9" * 5000, "0", "00", "01", "+1", "-1", "1.0", "%D9%A1", "1%0A", "%C2%B9", "%ED%A0%80", "1%00"):
        assert client.get(f"{home}audio/{position}.flac").status_code == 404, position
        assert client.put(f"{home}ratings/{position}", json=rating()).status_code == 404, position
    for token in ("9" * 5000, "%ED%A0%80", "%FF", "%00", "é"):
        assert client.get(f"/r/{token}/session.json").status_code == 404, token
    for ranges in ("bytes=" + "9" * 5000 + "-", "bytes=-" + "9" * 5000, "bytes=a-b", "bytes=5-1", "x"):
        assert client.get(home + "audio/1.flac", headers={"range": ranges}).status_code in (200, 206, 400, 416), ranges


def test_a_save_with_one_key_twice_or_nested_too_deeply_is_refused(client, home, database):
    send = {"content-type": "application/json"}
    twice = json.dumps(rating())[:-1] + ', "edit": 1}'
    for body in (twice, '{"a":' * 2700 + "1" + "}" * 2700, "[" * 8000, '{"edit": 1' + "0" * 5000 + "}"):
        assert client.put(home + "ratings/1", content=body.encode(), headers=send).status_code == 422
    assert database.current("ann") == {}


def test_a_database_that_cannot_be_used_is_said_and_the_page_tries_again(client, home, database):
    database.path.write_bytes(b"no database, though it is long enough to be one" * 100)
    for path in (database.path.with_name(database.path.name + end) for end in ("-wal", "-shm")):
        path.unlink(missing_ok=True)
    reply = client.put(home + "ratings/1", json=rating())
    assert reply.status_code == 503  # the page keeps the rating in the browser and sends it again after a 5xx
    assert "cannot be stored" in reply.text
    with pytest.raises(DatabaseUnusable, match=r"ratings\.sqlite: file is not a database; check"):
        database.current("ann")


def test_one_rater_cannot_flood_the_server(rating_set, database, home):
    app = build_app(rating_set, database, per_rater=RateLimit(per_s=0, burst=5))
    with TestClient(app, base_url="http://127.0.0.1") as client:
        codes = [client.get(home + "session.json").status_code for _ in range(8)]
        assert codes == [200] * 5 + [429] * 3
        assert client.get(f"/r/{rating_set.tokens['ben']}/session.json").status_code == 200


def test_every_answer_carries_the_guards(client, home):
    for path in ["/", home, home + "session.json", "/page/rating.js", "/r/x/"]:
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-content-type-options"] == "nosniff"


def test_many_saves_at_once_keep_every_one(client, rating_set, database):
    homes = {rater: f"/r/{token}/" for rater, token in rating_set.tokens.items()}

    def go(rater):
        for edit in range(1, 16):
            assert client.put(homes[rater] + "ratings/2", json=rating(edit, f"{rater}-save-{edit}")).status_code == 200

    threads = [threading.Thread(target=go, args=(rater,)) for rater in homes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {rater: database.current(rater)[2].edit for rater in homes} == {"ann": 15, "ben": 15}
