"""What goes wrong on real disks and clusters: nothing lost, nothing silently wrong, and a message that says what to do."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from keybed import store
from keybed.store import errors
from keybed.store.check.verify import VerifyConfig, verify
from keybed.store.write.claims import claim

HERE = Path(__file__).parent


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


def test_a_flipped_bit_is_never_read_as_a_number(filled, made):
    """In 40 places of one shard: the reader raises, or (in unused bytes) returns what was written."""
    draw = random.Random(1)
    file = filled.path / "features.zarr/audio/a/frames/c.1.0.0.0"
    sound = file.read_bytes()
    expected = store.open(filled.path).read("audio/a/frames", np.arange(32, 64))
    said = []
    for _ in range(40):
        data = bytearray(sound)
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        file.write_bytes(data)
        try:
            got = store.open(filled.path).read("audio/a/frames", np.arange(32, 64))
        except errors.ShardDamaged as error:
            said.append(str(error))
        else:
            np.testing.assert_array_equal(got, expected)
    assert len(said) >= 35
    assert all(f"keybed verify {filled.path} --repair" in line for line in said)


@pytest.mark.parametrize(
    ("feature", "start", "stop", "shard", "seen"),
    [
        ("audio/a/frames", 33, 60, 1, 1.0),  # part of a chunk
        ("audio/a/frames", 100, 101, 3, 1.0),
        ("audio/a/frames", 128, 150, 4, 1.0),  # the last shard, which ends within a chunk
        ("audio/a/frames", 20, 70, 1, 1.0),  # a whole shard between two parts
        ("audio/a/layers", 32, 64, 1, 1.0),
        ("audio/a/layers", 0, 96, 1, 1.0),
        ("audio/a/layers[state=1]", 32, 64, 1, 0.3),  # the other state's chunk may hold what it likes
        ("audio/a/layers[stat=0,state=0]", 40, 60, 1, 0.3),
        ("midi/m/mask", 33, 60, 1, 1.0),
        ("row/score", 33, 60, 1, 1.0),
        ("row/status", 128, 150, 4, 1.0),
    ],
)
def test_a_flipped_bit_is_noticed_however_little_is_read(filled, feature, start, stop, shard, seen):
    """Not every reader checks a chunk of which it decodes a part, or one of a shard that it reads in part; zarrs does not."""
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


def test_a_flipped_bit_in_a_column_has_a_name_too(filled, made):
    """Labels and status are read whole, whenever rows are chosen."""
    file = filled.path / "features.zarr/row/score/c.1.0"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(errors.ShardDamaged, match=r"row/score cannot be decoded.*keybed verify .* --repair"):
        store.open(filled.path).rows("train")
    (filled.path / "commits/000001.json").unlink()
    rows = store.open(filled.path).rows(status=None, allow_missing=True)  # what nobody proved is not even looked at
    assert len(rows) == 150 - 32
    np.testing.assert_array_equal(rows.score, made.arrays(0, 150)["row/score"][rows.index])
    plan = filled.path / "features.zarr/row/tier/c.0"
    plan.write_bytes(plan.read_bytes()[:-3])
    with pytest.raises(errors.ShardDamaged, match="row/tier, written by `keybed plan`, cannot be decoded"):
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


def test_data_without_a_commit_are_not_trusted(filled, made, snapshot):
    before = snapshot(filled.path)
    (filled.path / "commits/000001.json").unlink()
    opened = store.open(filled.path)
    with pytest.raises(errors.Incomplete, match="--shards 1"):
        opened.rows("train")
    with pytest.raises(errors.Incomplete):
        opened.read("audio/a/frames", [40])
    made.fill(opened, [1])
    assert snapshot(filled.path) == before


def test_a_commit_without_data_is_refused_at_opening(filled):
    (filled.path / "features.zarr/audio/a/layers/c.3.0.0.0").unlink()
    with pytest.raises(errors.NotAStore, match=r"1 files are missing, the first is features.zarr/audio/a/layers/c.3"):
        store.open(filled.path)
    report = verify(VerifyConfig(filled.path, repair=True))
    assert [str(problem) for problem in report.problems] == ["shard 3: audio/a/layers/c.3.0.0.0 is missing"]
    assert store.open(filled.path).committed == {0, 1, 2, 4}


def test_files_that_vanish_under_an_open_store_are_noticed(filled):
    (filled.path / "features.zarr/audio/a/frames/c.3.0.0.0").unlink()
    with pytest.raises(errors.ShardDamaged, match="is missing"):
        filled.read("audio/a/frames", [100])


def test_a_commit_cut_short_or_of_another_store_is_no_commit(filled):
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


def test_stale_partials_disturb_nobody_and_are_swept(filled):
    folder = filled.path / "features.zarr/audio/a/frames"
    for name in ("c.1.0.0.0.ab12.partial", "c.0.0.0.partial"):
        (folder / name).write_bytes(b"half a shard")
    opened = store.open(filled.path)
    assert len(opened.read("audio/a/frames", np.arange(150))) == 150
    report = verify(VerifyConfig(filled.path, repair=True))
    assert len(report.leftovers) == 2
    assert not report.problems
    assert not list(folder.glob("*.partial"))


@pytest.fixture
def small_disk(tmp_path):
    """A tmpfs of 1.5 MB; needs the right to mount."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1536k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a tmpfs needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_stops_with_a_name_and_goes_on_after_room_is_made(small_disk, made, snapshot, tmp_path):
    reference = made.fill(made.create(tmp_path / "reference"))
    opened = made.create(small_disk / "S")
    ballast = small_disk / "ballast"
    free = shutil.disk_usage(small_disk).free
    ballast.write_bytes(b"\0" * (free - 60_000))
    with pytest.raises(errors.NoDiskSpace, match=r"no disk space left.*run the same command again"):
        made.fill(opened)
    done = opened.committed
    assert len(done) < 5
    assert not list((small_disk / "S").rglob("*.partial"))
    assert not verify(VerifyConfig(opened.path)).problems
    ballast.unlink()
    made.fill(opened, sorted(set(range(5)) - opened.committed))
    assert snapshot(opened.path) == snapshot(reference.path)


def test_a_full_disk_leaves_no_half_created_store(small_disk, made):
    (small_disk / "ballast").write_bytes(b"\0" * (shutil.disk_usage(small_disk).free - 40_000))
    with pytest.raises(errors.NoDiskSpace):
        made.create(small_disk / "S")
    assert [path.name for path in small_disk.iterdir()] == ["ballast"]


def test_a_read_only_store_reads_and_says_why_it_cannot_be_written(tmp_path, made):
    opened = made.fill(made.create(tmp_path / "real"), [0, 1])
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "--bind", tmp_path / "real", mounted]).returncode:
        pytest.skip("a read-only mount needs root")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", mounted], check=True)
        frozen = store.open(mounted)
        np.testing.assert_array_equal(frozen.read("row/score", [3]), opened.read("row/score", [3]))
        with pytest.raises(errors.ReadOnlyStore, match=r"cannot be written \(Read-only file system\)"):
            made.fill(frozen, [2])
        from keybed.store.check.status import status

        assert len(status(frozen).done) == 2
        assert verify(VerifyConfig(mounted)).missing == (2, 3, 4)
        (tmp_path / "real/features.zarr/row/score/c.0.0").write_bytes(b"")
        with pytest.raises(errors.ReadOnlyStore):
            verify(VerifyConfig(mounted, repair=True))
    finally:
        subprocess.run(["umount", mounted], check=True)


def test_two_live_arrays_with_different_numbers_of_tasks(tmp_path, made, snapshot):
    """Four processes, as 2 tasks and as 3 tasks minus one, race for the same shards: each is made once."""
    reference = made.fill(made.create(tmp_path / "reference"))
    opened = made.create(tmp_path / "S")
    runs = [(0, 2), (1, 2), (0, 3), (2, 3)]
    processes = [
        subprocess.Popen([sys.executable, HERE / "fill_store.py", opened.path, str(task), str(tasks)])
        for task, tasks in runs
    ]
    assert [process.wait(120) for process in processes] == [0, 0, 0, 0]
    assert snapshot(opened.path) == snapshot(reference.path)
    assert verify(VerifyConfig(opened.path)).sound


@pytest.mark.slow
def test_kill_9_at_30_random_moments_of_filling_loses_nothing(tmp_path, made, snapshot):
    reference = made.fill(made.create(tmp_path / "reference"))
    opened = made.create(tmp_path / "S")
    draw = random.Random(5)
    kept: dict[str, bytes] = {}
    caught = 0
    for _ in range(30):
        process = subprocess.Popen([sys.executable, HERE / "fill_store.py", opened.path, "0", "1", "1"])
        while process.poll() is None and not any((opened.path / "claims").glob("*.json")):
            time.sleep(0.005)  # until it is at work: a kill during its imports would prove nothing
        time.sleep(draw.uniform(0, 0.5))
        process.send_signal(signal.SIGKILL)
        caught += process.wait() == -signal.SIGKILL
        for claimed in (opened.path / "claims").glob("*.json"):
            claimed.unlink()
        commits = {p.name: p.read_bytes() for p in (opened.path / "commits").glob("*.json")}
        assert kept.items() <= commits.items()
        for shard in opened.committed:
            assert not verify_one(opened.path, shard)
        if len(opened.committed) == 5:
            (opened.path / f"commits/{draw.randrange(5):06d}.json").unlink()
            commits = {p.name: p.read_bytes() for p in (opened.path / "commits").glob("*.json")}
        kept = commits
    assert caught > 15, "most of them fell into the work"
    subprocess.run([sys.executable, HERE / "fill_store.py", opened.path, "0", "1"], check=True)
    verify(VerifyConfig(opened.path, repair=True))
    assert snapshot(opened.path) == snapshot(reference.path)


def verify_one(path, shard):
    from keybed.store.check.verify import shard_problems

    return shard_problems(store.open(path), shard)


@pytest.mark.slow
def test_kill_9_during_create_leaves_a_whole_store_or_none(tmp_path, made, snapshot):
    made.create(tmp_path / "reference")
    expected = snapshot(tmp_path / "reference")
    draw = random.Random(6)
    caught = 0
    (tmp_path / "stores").mkdir()
    for number in range(30):
        path = tmp_path / "stores" / f"{number % 6}"
        litter = set((tmp_path / "stores").iterdir())
        process = subprocess.Popen([sys.executable, HERE / "fill_store.py", path, "create"])
        while process.poll() is None and set((tmp_path / "stores").iterdir()) <= litter:
            time.sleep(0.002)  # until it has begun to make the store
        time.sleep(draw.uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        process.wait()
        caught += not path.exists()
        if path.exists():
            assert snapshot(path) == expected
            shutil.rmtree(path)
    made.create(tmp_path / "stores" / "0")
    assert snapshot(tmp_path / "stores" / "0") == expected
    assert not list((tmp_path / "stores").glob(".0.*.creating"))
    assert caught > 3, "some of them fell into the making"


def test_a_sleeping_ghost_that_wakes_after_its_heir_finished_changes_nothing(tmp_path, made, snapshot):
    opened = made.create(tmp_path / "S")
    script = HERE / "fill_store.py"
    ghost = subprocess.Popen(
        [sys.executable, script, opened.path, "ghost"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert ghost.stdout is not None
    assert ghost.stdin is not None
    assert ghost.stdout.readline() == "claimed\n"
    ghost.send_signal(signal.SIGSTOP)
    file = opened.path / "claims/000000.json"
    then = time.time() - 700
    os.utime(file, (then, then))
    with claim(opened, 0) as held:
        made.commit(opened, 0, held)
    before = snapshot(opened.path)
    ghost.send_signal(signal.SIGCONT)
    out, _ = ghost.communicate("go on\n", timeout=60)
    assert out.startswith("ClaimLost: shard 0: this task's claim was not refreshed")
    assert snapshot(opened.path) == before
    assert not list(opened.path.rglob("*.partial"))
