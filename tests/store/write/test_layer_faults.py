"""`extend` and `drop` are killed, run at once, or meet damaged files, half copies, a full disk and a store of version 0.1."""

from __future__ import annotations

import json
import os
import random
import shutil
import threading
import time
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest

from keybed import store
from keybed.store import errors
from keybed.store.check.verify import VerifyConfig, verify
from keybed.store.write import layers as layers_module
from keybed.store.write.layers import add_encoders, drop_encoder
from tests.store.write.conftest import B, N


class Killed(BaseException):
    """Stands for kill -9: nothing is cleaned up after it."""


def test_extend_killed_at_any_write_leaves_the_layer_whole_or_absent(filled, four, snapshot, monkeypatch):
    before = snapshot(filled.path)
    real_write, real_remove = layers_module._write, layers_module.remove_layer_files
    outcomes = []
    for stop_at in range(20):
        done = []

        def write(layout, name, data, claim, done=done, stop_at=stop_at):
            if len(done) == stop_at:
                raise Killed
            real_write(layout, name, data, claim)
            done.append(name)

        def remove(store, name, claim, done=done, stop_at=stop_at):
            return (0, 0) if len(done) == stop_at else real_remove(store, name, claim)

        with monkeypatch.context() as patch:
            patch.setattr(layers_module, "_write", write)
            patch.setattr(layers_module, "remove_layer_files", remove)
            with suppress(Killed):
                add_encoders(filled.path, (B,), {})
        opened = store.open(filled.path)
        outcomes.append("b" in opened.layers)
        assert len(opened.read("audio/a/frames", np.arange(150))) == 150
        if outcomes[-1]:
            assert verify(VerifyConfig(filled.path)).missing_of_layers == {"b": (0, 1, 2, 3, 4)}
            drop_encoder(filled.path, "b")
            assert snapshot(filled.path) == before
            break
        report = verify(VerifyConfig(filled.path, repair=stop_at % 2 == 0))
        assert report.problems == ()  # what a stopped `extend` leaves is no damage, also right before the record
        if stop_at % 2 == 0:
            assert snapshot(filled.path) == before
        else:
            add_encoders(filled.path, (B,), {})
            assert verify(VerifyConfig(filled.path)).missing_of_layers == {"b": (0, 1, 2, 3, 4)}
            drop_encoder(filled.path, "b")
            assert snapshot(filled.path) == before
    assert outcomes == [False] * 5 + [True]


@pytest.mark.parametrize(
    ("name", "way_on"),
    [
        ("b", "repair"),
        ("m", "drop"),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (("b", "drop"), ("b", "extend"), ("m", "repair"), ("m", "extend"))
        ),
    ],
)
def test_a_drop_killed_at_any_removal_is_finished(extended, four, name, way_on, tmp_path, monkeypatch, snapshot):
    old = extended.recipe.encoder(name)
    expected = shutil.copytree(extended.path, tmp_path / "EXPECTED")
    drop_encoder(expected, name)
    for stop_at in (0, 3, 4) if name == "m" else (0, 3, 6):
        path = shutil.copytree(extended.path, tmp_path / f"{stop_at}")
        removed = []
        real = layers_module.remove

        def remove(root, paths, removed=removed, stop_at=stop_at, real=real):
            for one in paths:
                if len(removed) == stop_at:
                    raise Killed
                removed.append(one)
                real(root, [one])
            return []

        with monkeypatch.context() as patch:
            patch.setattr(layers_module, "remove", remove)
            with pytest.raises(Killed):
                drop_encoder(path, name)
        opened = store.open(path)
        assert name not in [entry.name for entry in opened.recipe.encoders]
        assert len(opened.read("audio/a/frames", np.arange(150))) == 150
        if way_on == "drop":
            drop_encoder(path, name)
        elif way_on == "repair":
            assert verify(VerifyConfig(path)).leftovers
            assert verify(VerifyConfig(path, repair=True)).sound
            assert not verify(VerifyConfig(path)).leftovers
        else:
            add_encoders(path, (old,), {})
            four.fill_layer(store.open(path), name)
            assert verify(VerifyConfig(path)).sound
            drop_encoder(path, name)
        assert snapshot(path) == snapshot(expected), stop_at


def test_small_files_of_a_layer_are_restored_from_each_other(extended, snapshot):
    before = snapshot(extended.path)
    draw = random.Random(3)
    names = [
        name
        for name in before
        if name.startswith(("layers/", "commits/b/plan")) or (name.endswith("zarr.json") and "audio/b" in name)
    ]
    assert len(names) == 2 + 1 + 3
    for name in names:
        for damage in draw.sample(("flip", "cut", "delete", "empty"), 1):
            file, data = extended.path / name, bytearray(before[name])
            if damage == "flip":
                data[draw.randrange(len(data))] ^= 1 << draw.randrange(7)
            file.write_bytes(data[: len(data) // 2] if damage == "cut" else b"" if damage == "empty" else data)
            if damage == "delete":
                file.unlink()
            if name not in ("layers/b.json", "layers/n.json") or damage != "delete":
                with pytest.raises(errors.NotAStore):
                    store.open(extended.path)
            report = verify(VerifyConfig(extended.path))
            assert name in report.restorable, (name, damage)
            verify(VerifyConfig(extended.path, repair=True))
            assert snapshot(extended.path) == before, (name, damage)


def test_a_layer_without_any_record_is_named_and_not_swept(extended, four, snapshot):
    (extended.path / "layers/b.json").unlink()
    (extended.path / "commits/b/plan.json").write_bytes(b"{}")
    report = verify(VerifyConfig(extended.path, repair=True))
    assert "the features of b cannot be read" in str(report.problems[0])
    assert (extended.path / "commits/b/000003.json").exists()
    with pytest.raises(errors.NotAStore, match=r"layers/b\.json is missing"):
        add_encoders(extended.path, (B,), {})
    drop_encoder(extended.path, "b")
    assert verify(VerifyConfig(extended.path)).sound


def test_a_lost_record_is_named_at_opening_and_restored(extended, snapshot):
    before = snapshot(extended.path)
    (extended.path / "layers/b.json").unlink()
    for opening in (store.open, lambda path: add_encoders(path, (B,), {})):
        with pytest.raises(errors.NotAStore, match=r"layers/b\.json is missing, and commits/b holds shards .*--repair"):
            opening(extended.path)
    verify(VerifyConfig(extended.path, repair=True))
    assert snapshot(extended.path) == before


def test_a_layer_copied_half_way_is_refused_or_absent(extended, four, tmp_path):
    """In the order of `cp -r` and in random ones: it never reads as other numbers than it has."""
    expected = extended.read("audio/b/frames", np.arange(150))
    files = sorted(file for file in extended.path.rglob("*") if file.is_file())
    of_layer = [file for file in files if "b" in file.relative_to(extended.path).parts or file.stem == "b"]
    rest = [file for file in files if file not in of_layer]
    for seed in range(4):
        target = tmp_path / f"copy{seed}"
        seen = set()
        order = rest + (of_layer if seed == 0 else random.Random(seed).sample(of_layer, len(of_layer)))
        for number, file in enumerate(order):
            to = target / file.relative_to(extended.path)
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, to)
            if number < len(rest):
                continue
            try:
                got = store.open(target)
            except errors.NotAStore:
                seen.add("refused")
                continue
            if "b" not in got.layers:
                seen.add("absent")
                continue
            for shard in got.shards_of_layer("b").numbers:
                rows = np.arange(*got.shard_range(shard))
                np.testing.assert_array_equal(got.read("audio/b/frames", rows), expected[rows])
            seen.add("whole")
        assert seen >= {"refused", "whole"}
        assert verify(VerifyConfig(target)).sound


@pytest.mark.parametrize("command", ["drop", "extend"])
def test_a_command_that_slept_while_another_took_over_changes_nothing_more(command, extended, monkeypatch, snapshot):
    """It hangs for eleven minutes after its first change; another process drops the encoder and adds it anew."""
    if command == "extend":
        drop_encoder(extended.path, "b")
    asleep = []
    name = "remove" if command == "drop" else "_write"
    real = getattr(layers_module, name)

    def sleep(*arguments):
        if command == "drop":
            real(*arguments)
        if not asleep:
            asleep.append(True)
            os.utime(extended.path / "claims/layers.json", (time.time() - 660, time.time() - 660))
            add_encoders(extended.path, (replace(B, width=7),), {})
            asleep.append(snapshot(extended.path))
        if command == "extend":
            real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(layers_module, name, sleep)
        with pytest.raises(errors.ClaimLost, match=r"the list of encoders of .*: this task's claim was not refreshed"):
            drop_encoder(extended.path, "b") if command == "drop" else add_encoders(extended.path, (B,), {})
    assert snapshot(extended.path) == asleep[1]
    assert store.open(extended.path).layers["b"].encoder.width == 7
    assert not verify(VerifyConfig(extended.path)).problems


def test_extensions_and_drops_at_once_leave_a_whole_store(filled, four):
    """Four threads extend with the same and with different encoders, one drops: each ends well or with a named error."""
    problems, added = [], []

    def work(number):
        try:
            if number == 4:
                drop_encoder(filled.path, "m")
            else:
                added.extend(add_encoders(filled.path, (B, N) if number % 2 else (N, B), {}))
        except errors.StoreError as error:
            problems.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert sorted(added) == ["b", "n"]
    opened = store.open(filled.path)
    assert [entry.name for entry in opened.recipe.encoders] == ["a", "b", "n"]
    assert not list((filled.path / "claims").glob("*.json"))
    assert verify(VerifyConfig(filled.path)).problems == ()


def test_a_store_of_version_0_1_is_extended(filled, four):
    """Its commits have neither checksums of chunks and of themselves, nor what the shards were made from."""
    for file in (filled.path / "commits").glob("0*.json"):
        commit = json.loads(file.read_bytes())
        commit.pop("sha256")
        commit.pop("inputs")
        for entry in commit["objects"].values():
            entry.pop("chunks", None)
        file.write_text(json.dumps(commit))
    add_encoders(filled.path, (B,), {})
    opened = four.fill_layer(store.open(filled.path), "b")
    assert verify(VerifyConfig(filled.path)).sound
    expected = four.arrays(0, 32)["audio/b/frames"].astype(np.float16)
    np.testing.assert_array_equal(opened.read("audio/b/frames", np.arange(32)), expected)


def test_a_full_disk_leaves_the_store_as_it_was(filled, snapshot, monkeypatch):
    before = snapshot(filled.path)
    real = layers_module.write_durably

    for room in range(5):
        written = []

        def write(path, data, written=written, room=room, **named):
            if len(written) == room:
                raise errors.NoDiskSpace("no disk space left")
            written.append(path)
            real(path, data, **named)

        monkeypatch.setattr(layers_module, "write_durably", write)
        with pytest.raises(errors.NoDiskSpace):
            add_encoders(filled.path, (B,), {})
        assert snapshot(filled.path) == before


def test_a_run_is_tied_to_the_encoders_that_it_uses(extended):
    """The fingerprint of a run's features: unchanged by encoders that it does not use."""
    assert extended.fingerprint_of(["a", "m"]) == extended.fingerprint
    assert extended.fingerprint_of(["b", "m"]) != extended.fingerprint_of(["a", "m"])
    before = extended.fingerprint_of(["b"])
    drop_encoder(extended.path, "n")
    assert store.open(extended.path).fingerprint_of(["b"]) == before
    drop_encoder(extended.path, "b")
    add_encoders(extended.path, (replace(B, revision="2"),), {})
    assert store.open(extended.path).fingerprint_of(["b"]) != before
