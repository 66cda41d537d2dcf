"""Full and read-only disks, racing and killed tasks: nothing is lost, and the message says what to do."""

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


def test_a_full_disk_stops_with_a_name_and_goes_on_after_space_is_freed(small_disk, synthetic, snapshot, tmp_path):
    reference = synthetic.fill(synthetic.create(tmp_path / "reference"))
    opened = synthetic.create(small_disk / "S")
    ballast = small_disk / "ballast"
    free = shutil.disk_usage(small_disk).free
    ballast.write_bytes(b"\0" * (free - 60_000))
    with pytest.raises(errors.NoDiskSpace, match=r"no disk space left.*run the same command again"):
        synthetic.fill(opened)
    done = opened.committed
    assert len(done) < 5
    assert not list((small_disk / "S").rglob("*.partial"))
    assert not verify(VerifyConfig(opened.path)).problems
    ballast.unlink()
    synthetic.fill(opened, sorted(set(range(5)) - opened.committed))
    assert snapshot(opened.path) == snapshot(reference.path)


def test_a_full_disk_leaves_no_half_created_store(small_disk, synthetic):
    (small_disk / "ballast").write_bytes(b"\0" * (shutil.disk_usage(small_disk).free - 40_000))
    with pytest.raises(errors.NoDiskSpace):
        synthetic.create(small_disk / "S")
    assert [path.name for path in small_disk.iterdir()] == ["ballast"]


def test_a_read_only_store_reads_and_says_why_it_cannot_be_written(tmp_path, synthetic):
    opened = synthetic.fill(synthetic.create(tmp_path / "real"), [0, 1])
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "--bind", tmp_path / "real", mounted]).returncode:
        pytest.skip("a read-only mount needs root")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", mounted], check=True)
        frozen = store.open(mounted)
        np.testing.assert_array_equal(frozen.read("row/score", [3]), opened.read("row/score", [3]))
        with pytest.raises(errors.ReadOnlyStore, match=r"cannot be written \(Read-only file system\)"):
            synthetic.fill(frozen, [2])
        from keybed.store.check.status import status

        assert len(status(frozen).done) == 2
        assert verify(VerifyConfig(mounted)).missing == (2, 3, 4)
        (tmp_path / "real/features.zarr/row/score/c.0.0").write_bytes(b"")
        with pytest.raises(errors.ReadOnlyStore):
            verify(VerifyConfig(mounted, repair=True))
    finally:
        subprocess.run(["umount", mounted], check=True)


def test_two_live_arrays_with_different_numbers_of_tasks(tmp_path, synthetic, snapshot):
    """Four processes, as 2 tasks and as 3 tasks minus one, race for the same shards: each is made once."""
    reference = synthetic.fill(synthetic.create(tmp_path / "reference"))
    opened = synthetic.create(tmp_path / "S")
    runs = [(0, 2), (1, 2), (0, 3), (2, 3)]
    processes = [
        subprocess.Popen([sys.executable, HERE / "fill_store.py", opened.path, str(task), str(tasks)])
        for task, tasks in runs
    ]
    assert [process.wait(120) for process in processes] == [0, 0, 0, 0]
    assert snapshot(opened.path) == snapshot(reference.path)
    assert verify(VerifyConfig(opened.path)).sound


@pytest.mark.slow
def test_kill_9_at_30_random_moments_of_filling_loses_nothing(tmp_path, synthetic, snapshot):
    reference = synthetic.fill(synthetic.create(tmp_path / "reference"))
    opened = synthetic.create(tmp_path / "S")
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
def test_kill_9_during_create_leaves_a_whole_store_or_none(tmp_path, synthetic, snapshot):
    synthetic.create(tmp_path / "reference")
    expected = snapshot(tmp_path / "reference")
    draw = random.Random(6)
    caught = 0
    (tmp_path / "stores").mkdir()
    for number in range(30):
        path = tmp_path / "stores" / f"{number % 6}"
        leftovers = set((tmp_path / "stores").iterdir())
        process = subprocess.Popen([sys.executable, HERE / "fill_store.py", path, "create"])
        while process.poll() is None and set((tmp_path / "stores").iterdir()) <= leftovers:
            time.sleep(0.002)  # until it has begun to make the store
        time.sleep(draw.uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        process.wait()
        caught += not path.exists()
        if path.exists():
            assert snapshot(path) == expected
            shutil.rmtree(path)
    synthetic.create(tmp_path / "stores" / "0")
    assert snapshot(tmp_path / "stores" / "0") == expected
    assert not list((tmp_path / "stores").glob(".0.*.creating"))
    assert caught > 3, "some of them fell into the making"


def test_a_suspended_task_that_resumes_after_its_shard_was_made_by_another_changes_nothing(
    tmp_path, synthetic, snapshot
):
    opened = synthetic.create(tmp_path / "S")
    script = HERE / "fill_store.py"
    lost_holder = subprocess.Popen(
        [sys.executable, script, opened.path, "claim-and-wait"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert lost_holder.stdout is not None
    assert lost_holder.stdin is not None
    assert lost_holder.stdout.readline() == "claimed\n"
    lost_holder.send_signal(signal.SIGSTOP)
    file = opened.path / "claims/000000.json"
    then = time.time() - 700
    os.utime(file, (then, then))
    with claim(opened, 0) as held:
        synthetic.commit(opened, 0, held)
    before = snapshot(opened.path)
    lost_holder.send_signal(signal.SIGCONT)
    out, _ = lost_holder.communicate("go on\n", timeout=60)
    assert out.startswith("ClaimLost: shard 0: this task's claim was not refreshed")
    assert snapshot(opened.path) == before
    assert not list(opened.path.rglob("*.partial"))
