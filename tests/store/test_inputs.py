"""A shard is made from the planned notes and columns and no others, and a file stands where it was committed."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from keybed import store
from keybed.store import errors
from keybed.store.check.verify import VerifyConfig, verify


def exchange(one, other):
    a, b = one.read_bytes(), other.read_bytes()
    one.write_bytes(b)
    other.write_bytes(a)


def as_version_0_1(root):
    """Rewrite every commit as the first version wrote it: without checksums of chunks, inputs and of itself."""
    for path in (root / "commits").glob("*.json"):
        commit = json.loads(path.read_text())
        del commit["sha256"]
        commit.pop("inputs", None)
        for entry in commit["objects"].values():
            entry.pop("chunks", None)
        path.write_text(json.dumps(commit, sort_keys=True, indent=1) + "\n")


@pytest.mark.parametrize("old", [False, True], ids=["new commits", "commits of version 0.1"])
@pytest.mark.parametrize(
    "array",
    ["row/score", "row/waveform", "row/status", "midi/m/mask", "audio/a/layers", "audio/a/frames", "midi/m/layers"],
)
def test_two_committed_files_that_were_exchanged_are_refused(tmp_path, synthetic, array, old):
    """Of equal length, so that the length says nothing: the numbers of another shard would be read in silence."""
    synthetic = type(synthetic)(n_rows=64, failed=(5,))
    opened = synthetic.fill(synthetic.create(tmp_path / "S"))
    if old:
        as_version_0_1(opened.path)
    one, other = sorted((opened.path / "features.zarr" / array).glob("c.*"))[:2]
    exchange(one, other)
    for shard, file in enumerate((one, other)):  # as if they were of equal length
        commit = opened.path / f"commits/{shard:06d}.json"
        plain = json.loads(commit.read_text())
        plain.pop("sha256", None)
        plain["objects"][f"{array}/{file.name}"]["bytes"] = file.stat().st_size
        commit.write_text(json.dumps(plain))
    again = store.open(opened.path)
    read = (lambda: again.rows(status=None)) if array.startswith("row/") else (lambda: again.read(array, np.arange(32)))
    with pytest.raises(errors.ShardDamaged, match="--repair"):
        read()
    assert verify(VerifyConfig(opened.path)).bad == (0, 1)


def test_commits_of_version_0_1_are_read_resumed_and_verified(filled, synthetic, snapshot):
    before = snapshot(filled.path)
    as_version_0_1(filled.path)
    opened = store.open(filled.path)
    assert len(opened.rows()) == 148
    np.testing.assert_array_equal(
        opened.read("audio/a/frames", np.arange(150)), filled.read("audio/a/frames", range(150))
    )
    assert verify(VerifyConfig(filled.path)).sound
    for file in filled.path.glob("commits/0*.json"):
        file.unlink()
    synthetic.fill(store.open(filled.path))
    after = snapshot(filled.path)
    assert {name: data for name, data in after.items() if name != "commits/plan.json"} == {
        name: data for name, data in before.items() if name != "commits/plan.json"
    }


def test_a_column_of_another_plan_is_refused(filled, tmp_path, synthetic):
    """`row/piece` of another plan is as long, and each of its chunks is sound."""
    planned = {**synthetic.planned, "piece": (np.arange(150) + 1) % 3}
    store.create(tmp_path / "B", synthetic.recipe, planned, synthetic.split_ranges, synthetic.recordings, {})
    shutil.copy(tmp_path / "B/features.zarr/row/piece/c.0", filled.path / "features.zarr/row/piece/c.0")
    with pytest.raises(errors.ShardDamaged, match=r"row/piece/c\.0 is not what `keybed plan` wrote"):
        store.open(filled.path).rows()


@pytest.mark.parametrize("file", ["recordings.json", "commits/plan.json", "recipe.json", "features.zarr/zarr.json"])
def test_every_flipped_bit_of_a_small_file_is_noticed_at_opening(filled, file):
    """At 60 places of each: opening is refused, or the file says the same."""
    path = filled.path / file
    sound = path.read_bytes()
    draw = np.random.default_rng(3)
    for _ in range(60):
        data = bytearray(sound)
        data[draw.integers(len(data))] ^= 1 << draw.integers(8)
        path.write_bytes(data)
        with pytest.raises(errors.NotAStore, match=str(filled.path)):
            store.open(filled.path)


def test_a_shard_made_from_other_notes_than_the_plan_holds_is_found(tmp_path, synthetic):
    """As where two notes files are exchanged, a shard is made by a version that does not look, and they are put back."""

    def notes(folder):
        for recording in range(3):
            (folder / f"{recording:05d}.npz").write_bytes(b"notes %d" % recording)

    path = tmp_path / "S"
    store.create(
        path, synthetic.recipe, synthetic.planned, synthetic.split_ranges, synthetic.recordings, {}, write_notes=notes
    )
    opened = synthetic.fill(store.open(path), [0, 1])
    assert opened.notes_path(2).read_bytes() == b"notes 2"
    exchange(path / "notes/00000.npz", path / "notes/00001.npz")
    with pytest.raises(errors.ShardDamaged, match=r"notes/00000\.npz is not what `keybed plan` wrote"):
        store.open(path).notes_path(0)
    report = verify(VerifyConfig(path))
    assert report.bad == (), "the shards are not at fault"
    assert [str(problem) for problem in report.problems] == [
        f"plan: notes/0000{i}.npz is not what was planned (sha256 differs)" for i in (0, 1)
    ]
    plan = json.loads((path / "commits/plan.json").read_text())  # a plan of these notes
    del plan["sha256"]
    for i in (0, 1):
        plan["objects"][f"notes/0000{i}.npz"]["sha256"] = store_sha(path / f"notes/0000{i}.npz")
    (path / "commits/plan.json").write_text(json.dumps(plan))
    report = verify(VerifyConfig(path))
    assert report.bad == (0, 1)
    assert "made from other notes" in str(report.problems[0])


def store_sha(file):
    from keybed.store.disk.durable import sha256_of

    return sha256_of(file)
