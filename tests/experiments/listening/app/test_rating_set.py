import dataclasses
import json
import os
import re
import stat

import pytest
from rich.console import Console

from keybed.experiments.listening.app.limits import RateLimit
from keybed.experiments.listening.app.offline import read_result, write_offline
from keybed.experiments.listening.app.rating_set import NotARatingSet, new_tokens, read_set, write_set
from keybed.experiments.listening.app.ratings import InvalidRating
from keybed.experiments.listening.app.serving import _links_table, links, serve
from keybed.experiments.listening.config import ServeConfig
from keybed.experiments.listening.rating_table import read_ratings


def test_a_set_reads_back(rating_set):
    assert read_set(rating_set.folder) == rating_set
    assert stat.S_IMODE((rating_set.folder / "private").stat().st_mode) == 0o700


def test_a_folder_that_is_no_set_says_what_to_do(tmp_path):
    with pytest.raises(NotARatingSet, match="phase5 select"):
        read_set(tmp_path)


def test_clip_codes_cannot_be_paths(rating_set):
    for code in ("../../etc/passwd", "a/b", "AAAA", ""):
        with pytest.raises(NotARatingSet, match="not plain"):
            write_set(dataclasses.replace(rating_set, seconds={code: 1.0}))
        with pytest.raises(KeyError):
            rating_set.audio(code)


def test_missing_sound_is_found_before_a_rater_finds_it(rating_set):
    rating_set.audio("bbbbbbbb").unlink()
    with pytest.raises(NotARatingSet, match="absent"):
        read_set(rating_set.folder)


def test_tokens_are_long_and_their_own():
    tokens = new_tokens([f"r{i}" for i in range(50)])
    assert len(set(tokens.values())) == 50
    assert min(map(len, tokens.values())) >= 22
    for bad in (["a", "a"], [], ["../x"], ["<b>"]):
        with pytest.raises(ValueError):
            new_tokens(bad)


def test_links_name_the_public_address(rating_set):
    addresses = links(ServeConfig(rating_set.folder, public_url="https://ratings.example/x/"), rating_set)
    assert addresses["ann"] == f"https://ratings.example/x/r/{rating_set.tokens['ann']}/"


def test_links_are_shown_whole_in_a_narrow_terminal(rating_set, database):
    console = Console(record=True, width=60)
    config = ServeConfig(rating_set.folder, public_url="https://ratings.of.a.long.institute.name.example/keybed/")
    console.print(_links_table(config, rating_set, database))
    folded = re.sub(r"[\s│]", "", console.export_text())
    assert all(link in folded for link in links(config, rating_set).values())


def test_the_offline_page_holds_everything_and_its_data_cannot_break_out(rating_set):
    evil = dataclasses.replace(rating_set, set_id="</script><script>alert(1)</script>")
    folder = write_offline(evil, rating_set.folder / "static")["ben"]
    page = (folder / "index.html").read_text()
    assert "alert(1)</script>" not in page
    assert "../../page/" not in page
    assert sorted(p.name for p in (folder / "audio").iterdir()) == ["1.flac", "2.flac", "3.flac", "4.flac"]


def test_serve_static_writes_the_folders_and_says_what_is_next(rating_set):
    console = Console(record=True, width=300)
    for _ in range(2):
        serve(ServeConfig(rating_set.folder, static=True), console)
    assert (rating_set.folder / "static" / "ann" / "index.html").is_file()
    assert "phase5 ingest" in console.export_text()


def test_results_of_other_sets_and_broken_ones_are_refused(rating_set, tmp_path):
    good = {
        "format": "keybed-ratings-1",
        "set_id": "set-1",
        "rater": "ann",
        "token": rating_set.tokens["ann"],
        "ratings": {},
    }
    file = tmp_path / "result.json"
    for change, error in [
        ({"set_id": "other"}, NotARatingSet),
        ({"token": "guess"}, NotARatingSet),
        ({"format": "x"}, InvalidRating),
        ({"ratings": {"99": {}}}, InvalidRating),
        ({"ratings": {"1": {"scores": {}}}}, InvalidRating),
    ]:
        file.write_text(json.dumps(good | change))
        with pytest.raises(error):
            read_result(file, rating_set)
    file.write_text("{")
    with pytest.raises(InvalidRating, match="not JSON"):
        read_result(file, rating_set)


def sent(rating_set, ratings="{}", token=None):
    token = json.dumps(token or rating_set.tokens["ann"])
    return (
        f'{{"format": "keybed-ratings-1", "set_id": "set-1", "rater": "ann", "token": {token}, "ratings": {ratings}}}'
    )


RATING = {"save_id": "save-0001", "edit": 1, "scores": {}, "done": False, "listened_s": 1.0, "plays": 1}
GOOD = json.dumps(RATING)


@pytest.mark.parametrize(
    ("ratings", "reason"),
    [
        ('{"a":' * 100_000 + "1" + "}" * 100_000, "nests too deeply"),
        (f'{{"3": {GOOD}, "003": {GOOD}}}', "clip '003'"),
        (f'{{"3": {GOOD}, "3": {GOOD}}}', "the key '3' stands twice"),
        (f'{{"²": {GOOD}}}', "clip '²'"),
        (f'{{"٣": {GOOD}}}', "clip '٣'"),
        (f'{{"{"9" * 5000}": {GOOD}}}', "numbered from 1 to 3"),
        (f'{{"\\ud800": {GOOD}}}', "clip '.ud800'"),
        (f'{{"1": {json.dumps(RATING | {"save_id": chr(0xD800) * 8})}}}', "clip 1: save_id"),
        (f'{{"1": {json.dumps(RATING | {"scores": {chr(0xD800): 1}})}}}', "clip 1: scores"),
        (f'{{"1": {json.dumps(RATING | {"listened_s": float("nan")})}}}', "clip 1: listened_s"),
        (f'{{"1": {json.dumps(RATING).replace("1.0", "9" * 5000)}}}', "not JSON"),
        ("[]", "not a file of ratings"),
    ],
    ids=["deep", "003", "twice", "superscript", "arabic", "long", "surrogate", "surrogate id", "surrogate scale", "nan", "digits", "list"],
)  # fmt: skip
def test_hostile_files_of_offline_raters_are_refused_by_name(rating_set, ratings, reason):
    rating_set.returned.mkdir()
    (rating_set.returned / "evil.json").write_text(sent(rating_set, ratings))
    with pytest.raises(InvalidRating, match=rf"returned/evil\.json: .*{reason}.*move this one out"):
        read_ratings(rating_set)


def test_files_that_are_none_or_unreadable_are_refused_by_name(rating_set, tmp_path):
    file = tmp_path / "evil.json"
    file.write_text(sent(rating_set, token="\ud800"))
    with pytest.raises(NotARatingSet, match=r"evil\.json"):
        read_result(file, rating_set)
    for make in (
        lambda: file.write_bytes(b"\xff\xfe\xff"),
        lambda: file.write_bytes(b""),
        lambda: file.write_bytes(b" " * 8_000_001),
        file.mkdir,
        lambda: os.mkfifo(file),
        lambda: file.symlink_to(file),
    ):
        file.rmdir() if file.is_dir() else file.unlink(missing_ok=True)
        make()
        with pytest.raises(InvalidRating, match=r"evil\.json: .*move this one out"):
            read_result(file, rating_set)


def test_raters_whose_names_give_one_folder_name_get_folders_of_their_own(rating_set):
    names = ("A B", "A-B", "A-B-2", "a.b", "ann")
    orders = dict.fromkeys(names, rating_set.orders["ann"])
    folders = write_offline(
        dataclasses.replace(rating_set, orders=orders, tokens=new_tokens(names)), rating_set.folder / "static"
    )
    assert [folder.name for folder in folders.values()] == ["A-B", "A-B-2", "A-B-2-2", "a-b-3", "ann"]
    for name, folder in folders.items():
        assert f'"rater": "{name}"' in (folder / "index.html").read_text()


@pytest.mark.parametrize("name", ["set.json", "private/tokens.json"])
@pytest.mark.parametrize("content", ["", "null", "[]", "{", '{"format": 1}', "[" * 100_000, "3"])
def test_a_damaged_set_says_so(rating_set, name, content):
    (rating_set.folder / name).write_text(content)
    with pytest.raises(NotARatingSet, match=r"damaged|format|differ"):
        read_set(rating_set.folder)


def test_a_bucket_refills_and_forgets():
    now = [0.0]
    limit = RateLimit(per_s=2, burst=3, keys=2, clock=lambda: now[0])
    assert [limit.allows("a") for _ in range(4)] == [True, True, True, False]
    now[0] = 0.5
    assert [limit.allows("a") for _ in range(2)] == [True, False]
    for key in "bcd":
        limit.allows(key)
    assert limit.allows("a")  # forgotten, so it begins anew
