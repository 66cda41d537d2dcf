"""A store behind a plain web server: what is fetched, what is refused, what happens when the connection or a file is bad."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from keybed import store
from keybed.store.errors import Incomplete, NotAStore, ShardDamaged
from keybed.store.format.layout import object_key
from keybed.store.remote import mirror
from keybed.store.remote.address import Address, RemoteRefused, RemoteUnreachable, parse

from .conftest import FileServer

LAYERS = "audio/a/layers"


def shard_file(path: str, shard: int, rank: int) -> str:
    return f"features.zarr/{path}/{object_key(shard, rank)}"


def test_it_reads_as_the_local_store_and_fetches_what_is_asked_for(server, whole_store, cache):
    remote = store.open(server.url)
    assert server.url in repr(remote)
    rows = remote.rows(split="validation")
    local = whole_store.rows(split="validation")
    np.testing.assert_array_equal(rows.score, local.score)
    index = np.arange(3, 20)
    np.testing.assert_array_equal(remote.read(LAYERS, index), whole_store.read(LAYERS, index))
    features = [name for name in server.asked if name.startswith("features.zarr/") and "/c." in name]
    assert [name for name in features if "/row/" not in name] == [shard_file(LAYERS, 0, 4)]
    server.asked.clear()
    np.testing.assert_array_equal(remote.read(LAYERS, index), whole_store.read(LAYERS, index))
    assert server.asked == []


def test_a_second_opening_fetches_records_and_no_features(server, whole_store, cache):
    store.open(server.url).read(LAYERS, np.arange(40))
    server.asked.clear()
    np.testing.assert_array_equal(
        store.open(server.url).read(LAYERS, np.arange(40)), whole_store.read(LAYERS, np.arange(40))
    )
    assert [name for name in server.asked if "/c." in name] == []


def test_a_connection_that_breaks_is_tried_again(server, whole_store, cache):
    name = shard_file(LAYERS, 1, 4)
    server.cut[name] = mirror.TRIES - 1
    np.testing.assert_array_equal(
        store.open(server.url).read(LAYERS, np.arange(32, 64)), whole_store.read(LAYERS, np.arange(32, 64))
    )
    assert server.cut[name] == 0


def test_a_connection_that_breaks_each_time_is_named(server, cache):
    name = shard_file(LAYERS, 1, 4)
    remote = store.open(server.url)
    server.cut[name] = 10**6
    with pytest.raises(RemoteUnreachable, match=rf"{server.url}/{name} cannot be read, after {mirror.TRIES} tries"):
        remote.read(LAYERS, np.arange(32, 64))
    server.cut.clear()
    remote.read(LAYERS, np.arange(32, 64))
    assert [f for f in cache.rglob(".*") if f.is_file()] == []


@pytest.mark.parametrize("same_length", [True, False])
def test_a_damaged_shard_is_named_and_never_read(server, whole_store, cache, same_length):
    name = shard_file(LAYERS, 0, 4)
    data = bytearray((whole_store.path / name).read_bytes())
    data[10] ^= 1
    server.changed[name] = bytes(data) if same_length else bytes(data[:-1])
    remote = store.open(server.url)
    with pytest.raises(ShardDamaged, match=rf"{server.url}/{name} is damaged, read {mirror.TRIES} times"):
        remote.read(LAYERS, np.arange(5))
    with pytest.raises(ShardDamaged, match="is damaged"):
        remote.read(LAYERS, np.arange(5))
    server.changed.clear()
    np.testing.assert_array_equal(remote.read(LAYERS, np.arange(5)), whole_store.read(LAYERS, np.arange(5)))


@pytest.mark.parametrize("name", ["recipe.json", "commits/plan.json", "features.zarr/zarr.json", "recordings.json"])
def test_a_damaged_or_missing_record_is_refused(server, whole_store, cache, name):
    server.changed[name] = b"{}"
    with pytest.raises(NotAStore):
        store.open(server.url)
    data = (whole_store.path / name).read_bytes()
    middle = len(data) // 2
    server.changed[name] = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
    with pytest.raises(NotAStore):
        _ = store.open(server.url).recordings
    server.changed.clear()
    server.folder = whole_store.path.parent / "nowhere"
    with pytest.raises(NotAStore, match=rf"{server.url}.*is missing"):
        store.open(server.url)


def test_nobody_answers(cache):
    with pytest.raises(RemoteUnreachable, match="cannot be read, after"):
        store.open("http://127.0.0.1:9/store")


def test_the_least_recently_used_files_make_room(server, whole_store, cache, monkeypatch):
    monkeypatch.setenv(mirror.BOUND_VARIABLE, "1e-6")
    monkeypatch.setattr(mirror, "IN_USE_S", -1.0)
    remote = store.open(server.url)
    for first in (0, 32, 64, 0):
        index = np.arange(first, first + 32)
        np.testing.assert_array_equal(remote.read(LAYERS, index)[:, 0], whole_store.read(LAYERS, index)[:, 0])
        assert [f.relative_to(cache).as_posix().partition("/")[2] for f in cache.rglob("c.*")] == [
            shard_file(LAYERS, first // 32, 4)
        ]
    monkeypatch.setenv(mirror.BOUND_VARIABLE, "much")
    with pytest.raises(RemoteUnreachable, match="KEYBED_REMOTE_GIB=much"):
        store.open(server.url)


def test_files_in_use_stay_although_the_bound_is_exceeded(server, cache, monkeypatch):
    monkeypatch.setenv(mirror.BOUND_VARIABLE, "1e-6")
    store.open(server.url).read(LAYERS, np.arange(64))
    assert len(list(cache.rglob(shard_file(LAYERS, 0, 4).rpartition("/")[2]))) > 0


def test_a_shard_that_was_made_again_is_fetched_again(server, whole_store, cache, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(whole_store.path, copy)
    server.folder = copy
    store.open(server.url).read(LAYERS, np.arange(5))
    commit = copy / "commits" / "000000.json"
    commit.unlink()
    remote = store.open(server.url)
    with pytest.raises(Incomplete, match=r"1 of .* shards not published"):
        remote.rows()
    assert not list(cache.rglob(f"{LAYERS}/c.0.*"))
    shutil.copy(whole_store.path / "commits" / "000000.json", commit)
    assert len(store.open(server.url).rows()) == len(whole_store.rows())


def test_a_listing_file_tells_of_added_encoders_and_derived_arrays(server, whole_store, cache, tmp_path):
    names = sorted(f.relative_to(whole_store.path).as_posix() for f in whole_store.path.rglob("*") if f.is_file())
    server.changed["files.txt"] = ("\n".join(names) + "\n").encode()
    remote = store.open(server.url)
    assert remote.features == whole_store.features
    assert "commits/999999.json" not in server.asked


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("hf://datasets/ann/store", Address("hf", "ann/store")),
        ("hf:/datasets/ann/store", Address("hf", "ann/store")),
        ("hf://datasets/ann/store@v1", Address("hf", "ann/store", "v1")),
        ("s3://bucket/a/b/", Address("s3", "bucket/a/b")),
        ("https://host/a/", Address("https", "https://host/a")),
        ("http://127.0.0.1:80/a", Address("https", "http://127.0.0.1:80/a")),
    ],
)
def test_addresses(text, address):
    assert parse(text) == address
    assert parse(address.url) == address


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hf://ann/store", "hf://datasets/OWNER/NAME"),
        ("hf://datasets/ann", "hf://datasets/OWNER/NAME"),
        ("hf://datasets/ann/store/../other", "hf://datasets/OWNER/NAME"),
        ("s3://bucket/../other", "s3://BUCKET"),
        ("http://example.org/store", "not encrypted"),
        ("https://ann:secret@host/a", "without a user name"),
        ("https://host/a?x=1", "without a user name"),
        ("ftp://host/a", "a remote store is"),
    ],
)
def test_urls_that_name_no_store_are_refused(text, words):
    with pytest.raises(RemoteRefused, match=words):
        parse(text)


def test_commands_that_write_say_that_it_is_read_only(server, cache):
    from keybed.store.read.opening import open_store

    with pytest.raises(RemoteRefused, match="read only"):
        open_store(server.url, even_if_damaged=True)


def test_without_the_library_the_extra_is_named(server, cache, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(RemoteRefused, match=r"needs obstore: pip install -c constraints.txt '\.\[remote\]'"):
        store.open(server.url)


def test_the_server_of_these_tests_fails_as_it_is_told(whole_store):
    import urllib.request

    with FileServer(whole_store.path) as running:
        running.cut["recipe.json"] = 1
        with (
            pytest.raises(Exception, match=r"IncompleteRead|bytes"),
            urllib.request.urlopen(f"{running.url}/recipe.json") as reply,
        ):
            reply.read()
