"""`commit_shard` accepts whole, sound shards and nothing else."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from keybed.store import errors
from keybed.store.disk.zarr_arrays import encode_shard
from keybed.store.format.vocabulary import Status
from keybed.store.write.claims import claim
from keybed.store.write.commit import commit_shard


@pytest.fixture
def opened(tmp_path, synthetic):
    return synthetic.create(tmp_path / "S")


def spoil(path, at, value):
    def change(arrays):
        arrays[path][at] = value

    return change


def drop(path):
    return lambda arrays: arrays.pop(path)


def cut(path):
    def change(arrays):
        arrays[path] = arrays[path][:-1]

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop("audio/a/layers"), r"missing \['audio/a/layers'\]"),
        (cut("row/score"), r"row/score has shape \(31, 8\), a whole shard is \(32, 8\)"),
        (
            spoil("audio/a/frames", (3, 0, 0, 0), np.nan),
            r"audio/a/frames: features of an OK row must be finite; rows \[3\]",
        ),
        (spoil("audio/a/frames", (3, 0, 0, 0), np.inf), "must be finite"),
        (spoil("audio/a/layers", (2, 0, 0, 0), 70000.0), "holds 70000.*beyond float16's 65504"),
        (spoil("audio/a/layers", (5, 0, 0, 0), 1.0), r"features of a failed row must be NaN; rows \[5\]"),
        (
            spoil("row/valid", (5, 0), True),
            r"row/valid: a failed row must have no valid score and no unmasked bin; rows \[5\]",
        ),
        (spoil("midi/m/mask", (9, 2), False), r"frames must be 0 in masked bins; rows \[9\]"),
        (spoil("row/status", 6, Status.NOT_FINITE), r"without one: \[6\]"),
        (spoil("row/status", 6, Status.NOT_MADE), "row/status holds NOT_MADE"),
        (spoil("row/n_notes", 6, -1), "n_notes of an OK row must not be negative"),
        (spoil("row/level", (6, 0), np.inf), "must not be infinite"),
    ],
)
def test_a_shard_that_breaks_a_rule_is_refused_by_name(opened, synthetic, change, message):
    arrays = synthetic.arrays(0, 32)
    arrays["midi/m/mask"][9], arrays["midi/m/frames"][9] = True, 1.0
    change(arrays)
    with claim(opened, 0) as held, pytest.raises(errors.ShardRefused, match=message):
        commit_shard(opened, 0, arrays, claim=held, failures=synthetic.failures(0, 32), facts={})
    assert opened.committed == frozenset()
    assert not list(opened.path.rglob("*.partial"))


def test_unknown_arrays_wrong_types_and_wrong_claims_are_refused(opened, synthetic):
    arrays = synthetic.arrays(0, 32)
    with claim(opened, 0) as held:
        with pytest.raises(errors.ShardRefused, match=r"unknown \['row/more'\]"):
            commit_shard(opened, 0, {**arrays, "row/more": arrays["row/score"]}, claim=held, failures={}, facts={})
        wide = {**arrays, "row/score": arrays["row/score"].astype(float)}
        with pytest.raises(errors.ShardRefused, match="row/score is float64, the store keeps float32"):
            commit_shard(opened, 0, wide, claim=held, failures={}, facts={})
        with pytest.raises(errors.ShardRefused, match="the claim is for shard 0"):
            commit_shard(opened, 1, arrays, claim=held, failures={}, facts={})


def test_the_commit_holds_reproducible_facts_and_the_log_the_rest(opened, synthetic):
    synthetic.fill(opened, [0])
    text = (opened.path / "commits" / "000000.json").read_text()
    commit = opened.commit(0)
    assert commit.statuses == {"OK": 31, "SILENT_AUDIO": 1}
    assert commit.failures == {5: "peak below −60 dBFS"}
    assert commit.facts == {"notes": {"00000": "d" * 64}}
    assert (commit.start, commit.stop, commit.recipe) == (0, 32, synthetic.recipe.fingerprint)
    assert len(commit.objects) == 12
    log = json.loads((opened.path / "logs" / "000000.json").read_text())
    assert log["machine"] == "test"
    assert log["rows"] == 32
    assert log["host"] not in text
    assert str(opened.path) not in text


def test_float16_and_float32_features_give_the_same_bytes(tmp_path, synthetic, snapshot):
    stores = []
    for name, dtype in (("one", np.float32), ("two", np.float16)):
        opened = synthetic.create(tmp_path / name)
        start, stop = opened.shard_range(2)
        arrays = synthetic.arrays(start, stop)
        for path in arrays:
            if path.split("/")[0] != "row" and arrays[path].dtype == np.float32:
                arrays[path] = arrays[path].astype(dtype)
        with claim(opened, 2) as held:
            commit_shard(opened, 2, arrays, claim=held, failures=synthetic.failures(start, stop), facts={})
        stores.append(snapshot(opened.path))
    assert stores[0] == stores[1]


@pytest.fixture
def events(monkeypatch):
    """("sync" | "rename", path) in order; a file has the name that it has at that moment."""
    seen = []
    fsync, replace, rename = os.fsync, Path.replace, Path.rename

    def noted_fsync(handle):
        fsync(handle)
        seen.append(("sync", str(Path(f"/proc/self/fd/{handle}").readlink())))

    def noted(kind, move):
        def call(path, target):
            seen.append((kind, str(path), str(target)))
            return move(path, target)

        return call

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "replace", noted("rename", replace))
    monkeypatch.setattr(Path, "rename", noted("rename", rename))
    return seen


def test_a_commit_is_durable_only_after_all_that_it_promises(opened, synthetic, events):
    """Power may fail at any moment, so the order is bytes, names, commit."""
    synthetic.fill(opened, [0])
    renames = [(number, *event[1:]) for number, event in enumerate(events) if event[0] == "rename"]
    objects = {str(opened.path / "features.zarr" / key) for key in opened.commit(0).objects}
    (commit_at,) = [number for number, _, to in renames if to.endswith("commits/000000.json")]
    published = {to: (number, partial) for number, partial, to in renames if number < commit_at}
    assert published.keys() == objects
    for target, (number, partial) in published.items():
        assert ("sync", partial) in events[:number], f"{target} was named before its bytes were on the disk"
        folder = str(Path(target).parent)
        assert ("sync", folder) in events[number:commit_at], f"the commit came before the name of {target} was durable"
    (partial,) = [partial for number, partial, _ in renames if number == commit_at]
    assert ("sync", partial) in events[:commit_at]
    assert events[commit_at + 1] == ("sync", str(opened.path / "commits"))


def test_a_new_store_is_durable_before_it_has_its_name(tmp_path, synthetic, events):
    synthetic.create(tmp_path / "S")
    (at,) = [number for number, event in enumerate(events) if event[0] == "rename" and event[2] == str(tmp_path / "S")]
    staging = Path(events[at][1])
    synced = {Path(event[1]).relative_to(staging) for event in events[:at] if event[0] == "sync"}
    assert {path.relative_to(tmp_path / "S") for path in (tmp_path / "S").rglob("*")} <= synced
    assert events[at + 1] == ("sync", str(tmp_path))


def test_a_task_that_loses_its_claim_while_publishing_reports_that_files_may_be_mixed(opened, synthetic, monkeypatch):
    """The claim is taken over between its last check and its commit."""
    from keybed.store.write import commit as writer

    with claim(opened, 0) as lost_holder:
        lost_claim = lost_holder.path.read_bytes()

        def taken_over(folder, sync=writer.sync_folder):
            sync(folder)
            lost_holder.path.write_bytes(lost_claim.replace(lost_holder.holder.token.encode(), b"0" * 32))

        monkeypatch.setattr(writer, "sync_folder", taken_over)
        with pytest.raises(errors.ClaimLost, match=r"may have replaced another task's.*--repair"):
            synthetic.commit(opened, 0, lost_holder)
        monkeypatch.undo()
        lost_holder.path.unlink()
    assert opened.committed == frozenset()


def test_what_cannot_be_read_back_is_not_committed(opened, synthetic, monkeypatch):
    """The disk returns other bytes than were written."""
    monkeypatch.setattr("keybed.store.disk.durable.sha256_of", lambda path: "0" * 64)
    with pytest.raises(errors.ShardDamaged, match="the disk or its link is failing"):
        synthetic.fill(opened, [0])
    assert opened.committed == frozenset()
    assert list(Path(opened.path).rglob("*.partial")) == []


def test_a_shard_of_fill_values_only_is_stored_too(opened):
    for spec in opened.specs:
        if spec.writer == "task":
            start, stop = opened.shard_range(1)
            values = np.full((stop - start, *spec.shape[1:]), spec.fill_value, spec.dtype)
            folder = opened.path / "features.zarr" / spec.path
            assert encode_shard(folder, spec, 1, start, values)[0].nbytes > 0, spec.path
