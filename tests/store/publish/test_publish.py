"""From a store to a repository on a hub, and back through its URL."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from keybed import store
from keybed.store.publish.publish import PublishConfig, PublishRefused, publish

from .loopback_hub import COMMIT, DatasetHub

URL = "hf://datasets/ann/piano"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """The hub, with a token of this user, an empty cache, and no waiting."""
    from huggingface_hub import constants

    from keybed.store.remote import mirror

    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv(mirror.FOLDER_VARIABLE, str(tmp_path / "cache" / "remote"))
    monkeypatch.setattr(mirror, "FIRST_WAIT_S", 0.0)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    with DatasetHub() as running:
        monkeypatch.setattr(constants, "ENDPOINT", running.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", running.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        yield running


@pytest.fixture
def published(hub, whole_store):
    lines: list[str] = []
    assert publish(PublishConfig(whole_store.path, URL, confirm_licences=True), lines.append) == URL
    return lines


def test_a_store_comes_back_through_its_url(hub, published, whole_store, tmp_path):
    remote = store.open(URL)
    np.testing.assert_array_equal(remote.rows().score, whole_store.rows().score)
    index = np.arange(0, 150, 11)
    for feature in whole_store.features:
        np.testing.assert_array_equal(remote.read(feature, index), whole_store.read(feature, index))
    assert remote.url == URL
    fetched = [
        path for method, path, _ in hub.requests if f"/resolve/{COMMIT}/features.zarr/" in path and "/c." in path
    ]
    assert len(fetched) == len(set(fetched))
    asked = [who for _, path, who in hub.requests if "/resolve/" in path]
    assert set(asked) == {"Bearer hf_secret"}
    hub.requests.clear()
    store.open(URL).read(whole_store.features[0], index)
    assert [path for _, path, _ in hub.requests if "/resolve/" in path] == []


def test_what_is_published(hub, published, whole_store):
    files = hub.repositories["ann/piano"]
    names = set(files) - {"README.md", "croissant.json", "files.txt"}
    assert not [name for name in names if name.startswith(("claims/", "logs/")) or name == "places.json"]
    assert {"recipe.json", "commits/000000.json", "features.zarr/zarr.json"} <= names
    assert set(files["files.txt"].decode().split()) == names
    for name in names:
        assert files[name] == (whole_store.path / name).read_bytes()
    card = files["README.md"].decode()
    assert whole_store.fingerprint in card
    assert "MAESTRO: CC BY-NC-SA 4.0" in card
    assert 'keybed.open("hf://datasets/ann/piano")' in card
    described = json.loads(files["croissant.json"])
    assert described["conformsTo"] == "http://mlcommons.org/croissant/1.0"
    assert {entry["@type"] for entry in described["distribution"]} == {"cr:FileObject", "cr:FileSet"}
    assert published[0].startswith("verifying")
    assert f"uploading {len(names)} files" in published[1]


def test_the_licences_are_asked_for_first(hub, whole_store):
    with pytest.raises(PublishRefused, match=r"(?s)MAESTRO: CC BY-NC-SA.*--confirm-licences"):
        publish(PublishConfig(whole_store.path, URL), lambda line: None)
    assert hub.requests == []


def test_without_a_token(hub, whole_store, monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(PublishRefused, match="no Hugging Face token"):
        publish(PublishConfig(whole_store.path, URL, confirm_licences=True), lambda line: None)
    assert hub.repositories == {}


def test_a_store_that_is_not_sound_is_not_published(hub, whole_store, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(whole_store.path, copy)
    file = next((copy / "features.zarr" / "audio").rglob("c.1.*"))
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(PublishRefused, match="not whole or not sound"):
        publish(PublishConfig(copy, URL, confirm_licences=True), lambda line: None)
    shutil.copy(whole_store.path / file.relative_to(copy), file)
    (copy / "commits" / "000001.json").unlink()
    with pytest.raises(PublishRefused, match="not whole or not sound"):
        publish(PublishConfig(copy, URL, confirm_licences=True), lambda line: None)
    assert hub.repositories == {}


def test_a_repository_of_another_recipe_or_of_other_things_is_left_alone(hub, whole_store):
    other = {"fingerprint": "f" * 64, "recipe": {}}
    hub.repositories["ann/piano"] = {"recipe.json": json.dumps(other).encode()}
    with pytest.raises(PublishRefused, match="ffffffffffff…"):
        publish(PublishConfig(whole_store.path, URL, confirm_licences=True), lambda line: None)
    hub.repositories["ann/piano"] = {"model.bin": b"1"}
    with pytest.raises(PublishRefused, match="holds other files"):
        publish(PublishConfig(whole_store.path, URL, confirm_licences=True), lambda line: None)
    assert hub.repositories["ann/piano"] == {"model.bin": b"1"}


def test_a_refused_upload_is_named_and_can_be_run_again(hub, whole_store):
    hub.refuse = 403
    with pytest.raises(PublishRefused, match="uploading failed"):
        publish(PublishConfig(whole_store.path, URL, confirm_licences=True, private=True), lambda line: None)
    assert hub.private == {"ann/piano": True}
    hub.refuse = 0
    publish(PublishConfig(whole_store.path, URL, confirm_licences=True), lambda line: None)
    assert "recipe.json" in hub.repositories["ann/piano"]


@pytest.mark.parametrize("url", ["s3://bucket/folder", "https://host/a", "hf://datasets/ann/piano@main"])
def test_only_the_hub_is_written_to(whole_store, url):
    with pytest.raises(PublishRefused, match="stores are published to hf://datasets/OWNER/NAME"):
        publish(PublishConfig(whole_store.path, url, confirm_licences=True), lambda line: None)


def test_a_repository_that_is_not_there_is_named(hub):
    from keybed.store.remote.address import RemoteUnreachable

    with pytest.raises(RemoteUnreachable, match="hf://datasets/ann/nothing: the repository cannot be read"):
        store.open("hf://datasets/ann/nothing")
