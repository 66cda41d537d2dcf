"""Encoders are added to a filled store and dropped from it without touching a byte of the rest."""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import replace

import numpy as np
import pytest

from keybed import store
from keybed.store import errors
from keybed.store.check.status import status
from keybed.store.check.verify import VerifyConfig, verify
from keybed.store.derive.derive import DeriveConfig, derive
from keybed.store.write.claims import claim
from keybed.store.write.commit import commit_shard
from keybed.store.write.layers import add_encoders, drop_encoder
from tests.store.conftest import encoder
from tests.store.write.conftest import B, N


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
