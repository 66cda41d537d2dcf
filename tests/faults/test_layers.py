"""Attacks on adding, filling and dropping encoders: kills, lost holders, races, readers beside, a full disk."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter

import numpy as np
import pytest

from keybed import store as stores
from keybed.store import errors
from keybed.store.check.verify import VerifyConfig, verify
from keybed.store.write.layers import drop_encoder

pytestmark = pytest.mark.slow
LAYERS = ("placeholder-audio", "expressive")
"""The first one is an encoder of the plan that was dropped before."""
EXTEND = ("--encoders", ",".join(LAYERS))


@pytest.fixture(scope="session")
def base_store(finished_placeholder_store, tmp_path_factory):
    """A finished store without one of its planned encoders."""
    path = shutil.copytree(finished_placeholder_store, tmp_path_factory.mktemp("base") / "store")
    drop_encoder(path, LAYERS[0])
    return path


@pytest.fixture(scope="session")
def extended_store(base_store, fork_server, tmp_path_factory):
    """The same, with both layers, filled by one process that nobody disturbed."""
    path = shutil.copytree(base_store, tmp_path_factory.mktemp("extended") / "store")
    fork_server.run("extend", path, *EXTEND)
    fork_server.run("extract", path, "--workers", "0")
    return path


def files_of(path):
    """Every file that must not change, and its bytes; what comes and goes with layers is left out."""
    files = (file for file in sorted(path.rglob("*")) if file.is_file())
    names = {file.relative_to(path).as_posix(): file for file in files}
    passing = ("logs/", "claims/", "places.json", *(f"layers/{name}.json" for name in LAYERS))
    passing += tuple(f"{folder}/{name}/" for name in LAYERS for folder in ("commits", "features.zarr/audio"))
    passing += (f"features.zarr/midi/{LAYERS[1]}/",)
    return {name: file.read_bytes() for name, file in names.items() if not name.startswith(passing)}


def assert_nothing_is_wrong(store, base, reference):
    """The rows are untouched; every layer opens, and what is committed of it is what the undisturbed store has."""
    opened = stores.open(store)
    assert {name: data for name, data in files_of(store).items() if name in base} == base
    report = verify(VerifyConfig(store))
    assert not report.problems, report.problems
    for name in opened.layers:
        for shard in opened.shards_of_layer(name).numbers:
            ours, theirs = (path / "commits" / name / f"{shard:06d}.json" for path in (store, reference))
            assert ours.read_bytes() == theirs.read_bytes()


def end_well(fork_server, store):
    """Whatever happened before, these commands must make the store whole."""
    for name in LAYERS:  # a drop may have been interrupted, or have won
        fork_server.run("extend", store, "--encoders", name)
    fork_server.run("extract", store, "--workers", "0")
    fork_server.run("verify", store, "--repair")


@pytest.mark.parametrize(("seed", "n_kills"), [(0, 10), *((seed, 40) for seed in range(1, 6))])
def test_commands_killed_at_random_moments(seed, n_kills, fork_server, base_store, extended_store, differing, tmp_path):
    """A random walk of extend, extract, drop and repair, each killed at a random moment."""
    draw = random.Random(f"layers {seed}")
    store = shutil.copytree(base_store, tmp_path / "store")
    base = files_of(base_store)
    kills: Counter[str] = Counter()
    while kills.total() < n_kills:
        name = draw.choice(LAYERS)
        command, longest_s = draw.choice(
            [
                (("extend", store, *EXTEND), 0.4),
                (("extend", store, "--encoders", name), 0.4),
                (("extract", store, "--workers", "0"), 1.5),
                (("extract", store, "--workers", "0", "--shards", str(draw.randrange(15))), 0.6),
                (("drop", store, "--encoder", name), 0.2),
                (("verify", store, "--repair"), 0.5),
            ]
        )
        pid = fork_server.start(*command)
        time.sleep(draw.uniform(0, longest_s))
        status = fork_server.kill(pid)
        if status != -signal.SIGKILL:  # one that was killed at once has no log
            assert status in (0, 1), fork_server.log(pid)
            assert "Traceback" not in fork_server.log(pid)
        kills[command[0]] += status == -signal.SIGKILL
        assert_nothing_is_wrong(store, base, extended_store)
    print(f"{kills.total()} kills: {dict(kills)}")
    end_well(fork_server, store)
    assert not differing(store, extended_store)
    assert not verify(VerifyConfig(store)).leftovers


@pytest.mark.long
@pytest.mark.parametrize("seed", range(6))
def test_commands_at_once_beside_a_reader(seed, fork_server, base_store, extended_store, differing, tmp_path):
    """Extensions, extractions and drops at once; a reader meets named errors or the right numbers."""
    draw = random.Random(f"at once {seed}")
    store = shutil.copytree(base_store, tmp_path / "store")
    expected = {
        path: stores.open(extended_store).read(path, np.arange(60)) for path in stores.open(extended_store).features
    }
    base = files_of(base_store)
    seen: Counter[str] = Counter()
    over = threading.Event()
    wrong: list[str] = []

    def read() -> None:
        random_paths = random.Random(seed)
        opened = stores.open(store)
        while not over.is_set():
            path = random_paths.choice(sorted(expected))
            shard = random_paths.randrange(15)
            rows = np.arange(4 * shard, 4 * shard + 4)
            try:
                if random_paths.random() < 0.3:
                    opened = stores.open(store)
                got = opened.read(path, rows)
            except (errors.Incomplete, errors.NoSuchFeature) as error:
                seen[type(error).__name__] += 1
                if path in ("midi/placeholder-midi/frames", "midi/placeholder-midi/layers"):
                    wrong.append(f"{path}: {error}")
            except Exception as error:
                wrong.append(f"{path}: {type(error).__name__}: {error}")
            else:
                seen["right"] += 1
                if not np.array_equal(got, expected[path][rows], equal_nan=got.dtype.kind == "f"):
                    wrong.append(f"{path}: other numbers")

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for _ in range(3):
            drops = [("drop", store, "--encoder", name) for name in LAYERS if draw.random() < 0.5]
            extractions = [("extract", store, "--workers", "0", "--task", str(i), "--tasks", "2") for i in range(2)]
            commands = [("extend", store, *EXTEND)] * 3 + [("extend", store, "--encoders", LAYERS[1])] + drops
            commands += extractions
            running = []
            for command in draw.sample(commands, len(commands)):
                running.append(fork_server.start(*command))
                time.sleep(draw.uniform(0, 0.2))
            for pid in running:
                assert fork_server.wait(pid) in (0, 1), fork_server.log(pid)
                assert "Traceback" not in fork_server.log(pid)
            assert_nothing_is_wrong(store, base, extended_store)
    finally:
        over.set()
        reader.join()
    assert wrong == []
    assert seen["right"] > 10
    end_well(fork_server, store)
    assert not differing(store, extended_store)
    assert not list((store / "claims").rglob("*.json"))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("meanwhile", ["taken over", "dropped", "dropped and added anew"])
def test_a_task_that_slept_publishes_nothing(
    seed, meanwhile, fork_server, base_store, extended_store, differing, tmp_path
):
    """A task of a layer hangs for eleven minutes, and resumes in the middle of its work."""
    draw = random.Random(f"sleeper {meanwhile} {seed}")
    store = shutil.copytree(base_store, tmp_path / "store")
    fork_server.run("extend", store, "--encoders", "expressive")
    claims = store / "claims/expressive"
    sleeper = fork_server.start("extract", store, "--workers", "0")
    fork_server.wait_for("a claim", lambda: any(claims.glob("[0-9]*.json")))
    time.sleep(draw.uniform(0, 0.8))

    def frozen_with_work_in_hand():
        fork_server.freeze(sleeper)
        done = stores.open(store).shards_of_layer("expressive").numbers
        held = [path for path in claims.glob("[0-9]*.json") if int(path.stem) not in done]
        if not held:
            os.kill(sleeper, signal.SIGCONT)
        return held

    fork_server.wait_for("it is stopped in the middle of its work", frozen_with_work_in_hand)
    if meanwhile != "taken over":
        assert "being made by" in fork_server.run_anyhow("drop", store, "--encoder", "expressive")
        assert "expressive" in stores.open(store).layers
    for path in claims.glob("[0-9]*.json"):
        os.utime(path, (time.time() - 660, time.time() - 660))
    if meanwhile == "taken over":
        fork_server.run("extract", store, "--workers", "0")
    else:
        fork_server.run("drop", store, "--encoder", "expressive")
    if meanwhile == "dropped and added anew":
        fork_server.run("extend", store, "--encoders", "expressive")
        fork_server.run("extract", store, "--workers", "0", "--shards", "0-4")
    before = {path: path.stat().st_mtime_ns for path in store.glob("commits/expressive/0*.json")}
    os.kill(sleeper, signal.SIGCONT)
    assert fork_server.wait(sleeper) in (0, 1), fork_server.log(sleeper)
    assert "Traceback" not in fork_server.log(sleeper)
    after = {path: path.stat().st_mtime_ns for path in store.glob("commits/expressive/0*.json")}
    assert {path: after[path] for path in before} == before
    if meanwhile == "dropped":
        assert not after
        assert not (store / "features.zarr/midi/expressive").exists()
    assert_nothing_is_wrong(store, files_of(base_store), extended_store)
    end_well(fork_server, store)
    assert not differing(store, extended_store)


def test_a_disk_that_is_full_at_any_moment(fork_server, base_store, extended_store, differing, tmp_path):
    """Each command ends with one line; the rows stay whole; with room again the same commands go on."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a tmpfs needs root")
    try:
        store = shutil.copytree(base_store, disk / "store")
        base = files_of(base_store)
        refused = Counter()
        for room in (0, 8_192, 16_384, 32_768, 65_536, 81_920, 98_304, 131_072):
            ballast = disk / "ballast"
            with ballast.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, max(1, shutil.disk_usage(disk).free - room))
            for command in (("extend", *EXTEND, "--no-room-check"), ("extract", "--workers", "0", "--shards", "0-3")):
                pid = fork_server.start(command[0], store, *command[1:])
                status, log = fork_server.wait(pid), fork_server.log(pid)
                assert "Traceback" not in log
                assert status == 0 or "space" in log, log
                refused[command[0]] += status != 0
                assert_nothing_is_wrong(store, base, extended_store)
            ballast.unlink()
        assert refused["extend"] >= 2
        assert refused["extract"] >= 2
        end_well(fork_server, store)
        assert not differing(store, extended_store)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
