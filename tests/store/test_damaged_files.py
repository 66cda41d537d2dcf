"""Damaged, missing and half-copied files: never read as numbers, and reported with what to do."""

from __future__ import annotations

import random
import shutil

import numpy as np
import pytest

from keybed import store
from keybed.store import errors
from keybed.store.check.verify import VerifyConfig, verify


def feature_files(path):
    return sorted(file for file in (path / "features.zarr").rglob("c.*") if "row" not in file.parts)


def test_one_flipped_bit_anywhere_is_found_by_verify(filled):
    """Every task-written file in turn, a random bit each."""
    draw = random.Random(0)
    columns = [f for f in (filled.path / "features.zarr/row").rglob("c.*") if f.name[2:3].isdigit()]
    files = [*feature_files(filled.path), *sorted(columns)]
    for file in draw.sample(files, 20):
        sound = file.read_bytes()
        data = bytearray(sound)
        at = draw.randrange(len(data))
        data[at] ^= 1 << draw.randrange(8)
        file.write_bytes(data)
        report = verify(VerifyConfig(filled.path))
        assert len(report.problems) == 1, file
        assert file.parent.name in str(report.problems[0])
        file.write_bytes(sound)


def test_a_flipped_bit_is_never_read_as_a_number(filled, synthetic):
    """At 40 positions of one shard: the reader raises, or (in unused bytes) returns what was written."""
    draw = random.Random(1)
    file = filled.path / "features.zarr/audio/a/frames/c.1.0.0.0"
    sound = file.read_bytes()
    expected = store.open(filled.path).read("audio/a/frames", np.arange(32, 64))
    messages = []
    for _ in range(40):
        data = bytearray(sound)
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        file.write_bytes(data)
        try:
            got = store.open(filled.path).read("audio/a/frames", np.arange(32, 64))
        except errors.ShardDamaged as error:
            messages.append(str(error))
        else:
            np.testing.assert_array_equal(got, expected)
    assert len(messages) >= 35
    assert all(f"keybed verify {filled.path} --repair" in line for line in messages)


@pytest.mark.parametrize(
    ("feature", "start", "stop", "shard", "seen"),
    [
        ("audio/a/frames", 33, 60, 1, 1.0),  # part of a chunk
        ("audio/a/frames", 100, 101, 3, 1.0),
        ("audio/a/frames", 128, 150, 4, 1.0),  # the last shard, which ends within a chunk
        ("audio/a/frames", 20, 70, 1, 1.0),  # a whole shard between two parts
        ("audio/a/layers", 32, 64, 1, 1.0),
        ("audio/a/layers", 0, 96, 1, 1.0),
        ("audio/a/layers[state=1]", 32, 64, 1, 0.3),  # the other state's chunk is not read
        ("audio/a/layers[stat=0,state=0]", 40, 60, 1, 0.3),
        ("midi/m/mask", 33, 60, 1, 1.0),
        ("row/score", 33, 60, 1, 1.0),
        ("row/status", 128, 150, 4, 1.0),
    ],
)
def test_a_flipped_bit_is_noticed_however_little_is_read(filled, feature, start, stop, shard, seen):
    """Some readers, zarrs among them, do not check a chunk or a shard of which they read only a part."""
    draw = random.Random(2)
    index = np.arange(start, stop)
    expected = store.open(filled.path).read(feature, index)
    (file,) = (filled.path / "features.zarr" / feature.partition("[")[0]).glob(f"c.{shard}*")
    sound = file.read_bytes()
    raised = 0
    for _ in range(40):
        data = bytearray(sound)
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        file.write_bytes(data)
        try:
            got = store.open(filled.path).read(feature, index)
        except errors.ShardDamaged:
            raised += 1
        else:
            np.testing.assert_array_equal(got, expected)
    assert raised >= 40 * seen


def test_a_flipped_bit_in_a_column_is_named_too(filled, synthetic):
    """Labels and status are read whole, whenever rows are chosen."""
    file = filled.path / "features.zarr/row/score/c.1.0"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(
        errors.ShardDamaged, match=r"row/score/c\.1\.0 is not the file that was.*keybed verify .* --repair"
    ):
        store.open(filled.path).rows("train")
    (filled.path / "commits/000001.json").unlink()
    rows = store.open(filled.path).rows(status=None, allow_missing=True)  # uncommitted files are not read
    assert len(rows) == 150 - 32
    np.testing.assert_array_equal(rows.score, synthetic.arrays(0, 150)["row/score"][rows.index])
    plan = filled.path / "features.zarr/row/tier/c.0"
    plan.write_bytes(plan.read_bytes()[:-3])
    with pytest.raises(errors.ShardDamaged, match=r"row/tier/c\.0 is not what `keybed plan` wrote"):
        store.open(filled.path).rows(allow_missing=True)


@pytest.mark.parametrize("keep", [0, 1, 100])
def test_a_truncated_shard_is_refused_with_its_number(filled, keep):
    file = filled.path / "features.zarr/midi/m/layers/c.2.0.0.0"
    file.write_bytes(file.read_bytes()[:keep])
    opened = store.open(filled.path)
    with pytest.raises(errors.ShardDamaged, match=rf"{keep} bytes long, its commit says \d+.*--shards 2"):
        opened.read("midi/m/layers", [70])
    assert len(opened.read("midi/m/layers", [10])) == 1
    assert verify(VerifyConfig(filled.path)).bad == (2,)


def test_data_without_a_commit_are_not_trusted(filled, synthetic, snapshot):
    before = snapshot(filled.path)
    (filled.path / "commits/000001.json").unlink()
    opened = store.open(filled.path)
    with pytest.raises(errors.Incomplete, match="--shards 1"):
        opened.rows("train")
    with pytest.raises(errors.Incomplete):
        opened.read("audio/a/frames", [40])
    synthetic.fill(opened, [1])
    assert snapshot(filled.path) == before


def test_a_commit_without_data_is_refused_at_opening(filled):
    (filled.path / "features.zarr/audio/a/layers/c.3.0.0.0").unlink()
    with pytest.raises(errors.NotAStore, match=r"1 file missing, the first is features.zarr/audio/a/layers/c.3"):
        store.open(filled.path)
    report = verify(VerifyConfig(filled.path, repair=True))
    assert [str(problem) for problem in report.problems] == ["shard 3: audio/a/layers/c.3.0.0.0 is missing"]
    assert store.open(filled.path).committed == {0, 1, 2, 4}


def test_files_that_vanish_under_an_open_store_are_noticed(filled):
    (filled.path / "features.zarr/audio/a/frames/c.3.0.0.0").unlink()
    with pytest.raises(errors.ShardDamaged, match="is missing"):
        filled.read("audio/a/frames", [100])


def test_a_commit_cut_short_or_of_another_store_is_refused(filled):
    commit = filled.path / "commits/000000.json"
    sound = commit.read_bytes()
    commit.write_bytes(sound[: len(sound) // 2])
    assert verify(VerifyConfig(filled.path)).bad == (0,)
    with pytest.raises(errors.ShardDamaged, match="is not a readable commit"):
        store.open(filled.path).read("row/score", [0])
    commit.write_bytes(sound.replace(filled.fingerprint.encode(), b"f" * 64))
    assert verify(VerifyConfig(filled.path)).bad == (0,)
    commit.unlink()
    shutil.copy(filled.path / "commits/000001.json", commit)
    assert verify(VerifyConfig(filled.path)).bad == (0,)


def test_a_store_copied_half_way_is_refused_at_any_moment(filled, tmp_path):
    """In the order of `cp -r` and in a random one: it does not open, or offers only rows that are whole."""
    expected = filled.read("audio/a/frames", np.arange(150))
    files = sorted(file for file in filled.path.rglob("*") if file.is_file())
    files = [file for file in files if file.relative_to(filled.path).parts[0] not in ("logs", "claims")]
    for order in (files, random.Random(0).sample(files, len(files))):
        target = tmp_path / "copy"
        refused = []
        for number, file in enumerate(order):
            if number % 7 == 6:
                try:
                    got = store.open(target)
                except errors.NotAStore as error:
                    refused.append(str(error))
                else:
                    rows = got.rows(status=None, allow_missing=True)
                    assert set((rows.index // 32).tolist()) == got.committed
                    np.testing.assert_array_equal(got.read("audio/a/frames", rows.index), expected[rows.index])
            to = target / file.relative_to(filled.path)
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, to)
        assert len(refused) > 10
        assert all(str(target) in line for line in refused)
        assert len(store.open(target).rows(status=None)) == 150
        shutil.rmtree(target)


def test_stale_partial_files_are_ignored_and_removed(filled):
    folder = filled.path / "features.zarr/audio/a/frames"
    for name in ("c.1.0.0.0.ab12.partial", "c.0.0.0.partial"):
        (folder / name).write_bytes(b"half a shard")
    opened = store.open(filled.path)
    assert len(opened.read("audio/a/frames", np.arange(150))) == 150
    report = verify(VerifyConfig(filled.path, repair=True))
    assert len(report.leftovers) == 2
    assert not report.problems
    assert not list(folder.glob("*.partial"))
