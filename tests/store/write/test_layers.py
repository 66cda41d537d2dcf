"""Encoders are added to a filled store and dropped from it without touching a byte of the rest."""

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
from keybed.store.check.status import status
from keybed.store.check.verify import VerifyConfig, verify
from keybed.store.derive.derive import DeriveConfig, derive
from keybed.store.write import layers as layers_module
from keybed.store.write.claims import claim
from keybed.store.write.commit import commit_shard
from keybed.store.write.layers import add_encoders, drop_encoder
from tests.store.conftest import Synthetic, encoder

B, N = encoder("b", "audio", 5), encoder("n", "midi", 3)


@pytest.fixture
def four(synthetic):
    """The content of a store in which all four encoders were planned together."""
    return replace(synthetic, encoders=(*synthetic.encoders, B, N))


@pytest.fixture(scope="module")
def whole_extended(whole_store, tmp_path_factory):
    """A finished store of two encoders, to which two others were added and filled."""
    path = shutil.copytree(whole_store.path, tmp_path_factory.mktemp("extended") / "STORE")
    assert add_encoders(path, (B, N), {"weights/b": "/weights/b"}) == ["b", "n"]
    content = Synthetic()
    content = replace(content, encoders=(*content.encoders, B, N))
    return content.fill_layer(content.fill_layer(store.open(path), "n"), "b")


@pytest.fixture
def extended(whole_extended, tmp_path):
    """The same, for tests that change it."""
    return store.open(shutil.copytree(whole_extended.path, tmp_path / "STORE"))


def test_an_extended_store_equals_one_that_was_planned_with_all_encoders(extended, four, tmp_path, snapshot):
    """Every array, its metadata and all other planned files; the commits of the layers are those of the whole, cut up."""
    together = four.fill(four.create(tmp_path / "TOGETHER"))
    records = ("recipe.json", "features.zarr/zarr.json", "commits/", "layers/")
    ours, theirs = (
        {name: data for name, data in snapshot(path).items() if not name.startswith(records)}
        for path in (extended.path, together.path)
    )
    assert ours == theirs
    assert sum(name.startswith("features.zarr/audio/b/") for name in ours) == 3 + 2 * 5
    assert extended.recipe == together.recipe
    assert extended.recipe.rows_fingerprint == together.recipe.rows_fingerprint
    for shard in range(together.n_shards):
        whole = together.commit(shard)
        parts = [extended.commit(shard, part) for part in extended.parts]
        assert {key: entry for part in parts for key, entry in part.objects.items()} == whole.objects
        for part in parts:
            for fact in ("shard", "start", "stop", "statuses", "failures", "facts", "inputs"):
                assert getattr(part, fact) == getattr(whole, fact)


def test_extend_and_drop_touch_no_byte_of_the_rest(filled, four, snapshot):
    before = snapshot(filled.path)
    add_encoders(filled.path, (N, B), {})
    opened = four.fill_layer(four.fill_layer(store.open(filled.path), "b"), "n")
    after = snapshot(filled.path)
    assert {name: after[name] for name in before} == before
    assert verify(VerifyConfig(filled.path)).sound
    derive(DeriveConfig(filled.path, pca=0, int8=False))
    assert (opened.path / "features.zarr/derived/b").is_dir()
    for name in ("b", "n"):
        assert drop_encoder(filled.path, name).n_files > 5
    left = {name: data for name, data in snapshot(filled.path).items() if not name.startswith("features.zarr/derived")}
    assert left == before
    assert not (opened.path / "features.zarr/derived/b").exists()
    assert not (opened.path / "commits/b").exists()


def test_the_order_of_extension_changes_nothing(filled, four, tmp_path, snapshot):
    other = shutil.copytree(filled.path, tmp_path / "OTHER")
    add_encoders(filled.path, (B, N), {})
    add_encoders(other, (N,), {})
    four.fill_layer(store.open(other), "n")
    add_encoders(other, (B,), {})
    four.fill_layer(store.open(other), "b")
    four.fill_layer(four.fill_layer(store.open(filled.path), "b"), "n")
    assert snapshot(filled.path) == snapshot(other)
    assert [entry.name for entry in store.open(other).recipe.encoders] == ["a", "m", "b", "n"]


def test_a_layer_is_read_as_far_as_it_is_committed(filled, four):
    add_encoders(filled.path, (B,), {})
    opened = four.fill_layer(store.open(filled.path), "b", [0, 2])
    assert len(opened.rows()) == 148, "the rows are complete"
    expected = four.arrays(64, 96)["audio/b/frames"].astype(np.float16)
    np.testing.assert_array_equal(opened.read("audio/b/frames", np.arange(64, 96)), expected)
    with pytest.raises(
        errors.Incomplete, match=r"shard 1 of layer b of .* is not committed: `keybed extract .* --layer b --shards 1`"
    ):
        opened.read("audio/b/frames", [40])
    report = status(opened)
    assert report.rows_done == 150
    assert not report.complete
    assert report.layers["b"].done == (0, 2)
    assert report.layers["b"].missing == (1, 3, 4)
    checked = verify(VerifyConfig(filled.path))
    assert (checked.problems, checked.missing, checked.missing_of_layers) == ((), (), {"b": (1, 3, 4)})
    assert checked.redo_layers == ("b",)


def test_the_same_encoder_again_changes_nothing_and_another_of_its_name_is_refused(extended, snapshot):
    before = snapshot(extended.path)
    assert add_encoders(extended.path, (B, *extended.planned_recipe.encoders), {}) == []
    for other, what in ((replace(B, width=6), "width: 5 | 6"), (encoder("m", "audio", 6), "modality: midi | audio")):
        with pytest.raises(errors.RecipeMismatch, match="other settings; nothing was changed") as refused:
            add_encoders(extended.path, (encoder("c", "audio", 2), other), {})
        assert what in str(refused.value)
        assert f"keybed drop {extended.path} --encoder {other.name}" in str(refused.value)
    for name in ("../x", "000001", "a.json", ""):
        with pytest.raises(errors.PlanRefused, match="name"):
            add_encoders(extended.path, (encoder(name, "audio", 2),), {})
    assert snapshot(extended.path) == before


def test_an_encoder_of_the_plan_is_dropped_and_added_again(filled, four, snapshot):
    commits = {name: data for name, data in snapshot(filled.path).items() if name.startswith("commits/")}
    old = filled.planned_recipe.encoder("m")
    drop_encoder(filled.path, "m")
    opened = store.open(filled.path)
    assert [entry.name for entry in opened.recipe.encoders] == ["a"]
    assert opened.features == ["audio/a/layers", "audio/a/frames"]
    assert len(opened.rows()) == 148
    with pytest.raises(errors.NoSuchFeature, match="holds no 'midi/m/frames'"):
        opened.read("midi/m/frames", [0])
    assert verify(VerifyConfig(filled.path, repair=True)).sound
    with pytest.raises(errors.PlanRefused, match="a is the only encoder"):
        drop_encoder(filled.path, "a")
    with pytest.raises(errors.NoSuchFeature, match="no encoder 'm'; it has a"):
        drop_encoder(filled.path, "m")
    assert add_encoders(filled.path, (replace(old, n_states=3, frame_states=(0, 1, 2)),), {}) == ["m"]
    drop_encoder(filled.path, "m")
    assert add_encoders(filled.path, (old,), {}) == ["m"]
    opened = four.fill_layer(store.open(filled.path), "m")
    assert verify(VerifyConfig(filled.path)).sound
    expected = four.arrays(0, 32)["midi/m/frames"].astype(np.float16)
    np.testing.assert_array_equal(opened.read("midi/m/frames", np.arange(32)), expected)
    assert {name: data for name, data in snapshot(filled.path).items() if name in commits} == commits


@pytest.mark.parametrize("name", ["", ".", "..", "../a", "000001.json", "a/layers", "c", "plan.json", "layers"])
def test_what_is_no_encoder_is_not_dropped(extended, snapshot, name):
    before = snapshot(extended.path)
    with pytest.raises(errors.NoSuchFeature, match=r"has no encoder .*; it has a, m, b, n"):
        drop_encoder(extended.path, name)
    assert snapshot(extended.path) == before


def test_shards_made_after_a_drop_lack_the_dropped_encoder(tmp_path, synthetic, four):
    opened = synthetic.fill(synthetic.create(tmp_path / "S"), [0, 1])
    drop_encoder(opened.path, "m")
    with pytest.raises(errors.EncoderDropped, match="m: dropped from"), claim(opened, 2):
        pass
    opened = store.open(opened.path)
    for shard in (2, 3, 4):
        arrays = {path: v for path, v in synthetic.arrays(*opened.shard_range(shard)).items() if "midi/m" not in path}
        with claim(opened, shard) as held:
            failures = synthetic.failures(*opened.shard_range(shard))
            commit_shard(opened, shard, arrays, claim=held, failures=failures, facts={})
    assert verify(VerifyConfig(opened.path)).sound


def test_tasks_at_work_keep_an_encoder_from_being_dropped(extended, four, snapshot):
    (extended.path / "commits/b/000001.json").unlink()
    (extended.path / "commits/000002.json").unlink()
    before = snapshot(extended.path)
    with claim(extended, 1, "b"), claim(extended, 2):
        for name, shard in (("b", 1), ("m", 2)):
            with pytest.raises(errors.ShardBusy, match=f"shards {shard} are being made by process {os.getpid()}"):
                drop_encoder(extended.path, name)
        assert snapshot(extended.path) == before
        drop_encoder(extended.path, "n")  # nobody works on it


def test_a_task_whose_layer_was_dropped_writes_nothing(extended, four):
    (extended.path / "commits/b/000001.json").unlink()
    arrays = four.layer_arrays(extended, "b", 1)
    with claim(extended, 1, "b") as held:
        os.utime(held.path, (time.time() - 3600, time.time() - 3600))  # asleep for an hour
        drop_encoder(extended.path, "b")
        with pytest.raises(errors.ClaimLost):
            four.commit(extended, 1, held, "b", arrays)
    assert not (extended.path / "features.zarr/audio/b").exists()
    add_encoders(extended.path, (replace(B, width=7),), {})
    with pytest.raises(errors.EncoderDropped, match="b: dropped from"), claim(extended, 1, "b"):
        pass
    with pytest.raises(errors.EncoderDropped, match=r"dropped from .* meanwhile"):
        extended.read("audio/b/frames", [3])
    assert len(extended.read("audio/a/frames", [3])) == 1
    assert not [path for path in (extended.path / "features.zarr/audio/b").rglob("*") if path.name.startswith("c.")]


def test_a_layers_shard_is_of_the_committed_rows(extended, four):
    opened = extended
    for name in ("commits/b/000001.json", "commits/b/000000.json", "commits/000002.json", "commits/b/000002.json"):
        (opened.path / name).unlink()
    opened = store.open(opened.path)
    with claim(opened, 2, "b") as held, pytest.raises(errors.Incomplete, match=r"shard 2 of .* is not committed"):
        four.commit(opened, 2, held, "b")
    arrays = four.layer_arrays(opened, "b", 0)
    arrays["audio/b/frames"][5] = 1.0
    with claim(opened, 0, "b") as held:
        with pytest.raises(errors.ShardRefused, match=r"features of a failed row must be NaN; rows \[5\]"):
            four.commit(opened, 0, held, "b", arrays)
        with pytest.raises(errors.ShardRefused, match=r"other rows fail than when the rows were made: \[5\]"):
            commit_shard(opened, 0, arrays, claim=held, failures={}, facts={}, layer="b")
        arrays["audio/b/frames"][5] = np.nan
        commit_shard(opened, 0, arrays, claim=held, failures={5: "in other words"}, facts={}, layer="b")
        assert opened.commit(0, "b").failures == {5: "peak below −60 dBFS"}
        with pytest.raises(errors.ShardRefused, match=r"shard 1 of layer b .*: the claim is for shard 0"):
            four.commit(opened, 1, held, "b")


def test_a_bad_shard_of_a_layer_is_taken_back_alone(extended, four, snapshot):
    before = snapshot(extended.path)
    file = extended.path / "features.zarr/audio/b/frames/c.3.0.0.0"
    data = bytearray(file.read_bytes())
    data[40] ^= 8
    file.write_bytes(data)
    report = verify(VerifyConfig(extended.path, repair=True))
    assert [str(problem).split(":")[0] for problem in report.problems] == ["shard 3 of layer b"]
    assert (report.redo, report.redo_layers) == ((3,), ("b",))
    opened = store.open(extended.path)
    assert opened.committed == frozenset(range(5))
    assert opened.shards_of_layer("b").numbers == {0, 1, 2, 4}
    four.fill_layer(opened, "b", [3])
    assert snapshot(extended.path) == before


def test_a_layer_of_rows_that_were_made_again_otherwise_is_a_problem(extended):
    path = extended.path / "commits/000001.json"
    commit = json.loads(path.read_text())
    commit["facts"] = {"audio_sha256": "e" * 64}
    del commit["sha256"]  # as in a commit of version 0.1
    path.write_text(json.dumps(commit))
    report = verify(VerifyConfig(extended.path))
    assert {(problem.shard, problem.layer) for problem in report.problems} == {(1, "b"), (1, "n")}
    assert "other audio than the committed rows" in str(report.problems[0])


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
        if stop_at % 2 == 0:
            assert report.problems == ()
            left = {"layers/b.json"} if "layers/b.json" in report.restorable else set()
            assert set(snapshot(filled.path)) - set(before) >= left
            if left:
                drop_encoder(filled.path, "b")
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
