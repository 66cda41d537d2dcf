"""kill -9 at random moments of an extraction and of a plan: nothing is lost, silently wrong or made twice."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time

import pytest

KILLS_PER_SEED = 12


def start_and_kill(fork_server, after_s, *arguments):
    """Kill the command after so many seconds; True where it was still running then."""
    pid = fork_server.start(*arguments)
    time.sleep(after_s)
    status = fork_server.kill(pid)
    assert status in (0, -signal.SIGKILL), fork_server.log(pid)
    fork_server.wait_for("its workers end with it", lambda: not fork_server.left_running(pid))
    return status != 0


def assert_commits_match(store, reference):
    """Every commit on disk matches the bytes of the undisturbed store."""
    for commit in (store / "commits").glob("[0-9]*.json"):
        assert commit.read_bytes() == (reference / "commits" / commit.name).read_bytes()
        for name in json.loads(commit.read_bytes())["objects"]:
            ours, theirs = (folder / "features.zarr" / name for folder in (store, reference))
            assert ours.read_bytes() == theirs.read_bytes(), name


@pytest.mark.parametrize(
    ("seed", "workers"),
    [
        (0, 0),
        pytest.param(1, 0, marks=pytest.mark.slow),
        pytest.param(2, 2, marks=pytest.mark.slow),
        pytest.param(3, 1, marks=pytest.mark.slow),
    ],
)
def test_extraction(
    seed, workers, fork_server, planned_placeholder_store, finished_placeholder_store, differing, commits_of, tmp_path
):
    draw = random.Random(f"extract {seed}")
    longest_s = 0.6 if workers == 0 else 4.0
    kills, stores, store = 0, 1, tmp_path / "0"
    shutil.copytree(planned_placeholder_store, store)
    while kills < KILLS_PER_SEED:
        before = commits_of(store)
        kills += start_and_kill(fork_server, draw.uniform(0, longest_s), "extract", store, "--workers", str(workers))
        after = commits_of(store)
        assert before == {shard: after[shard] for shard in before}, "a committed shard was made again, or lost"
        assert_commits_match(store, finished_placeholder_store)
        if len(after) == 15 and kills < KILLS_PER_SEED:
            store, stores = tmp_path / str(stores), stores + 1
            shutil.copytree(planned_placeholder_store, store)
    before = commits_of(store)
    fork_server.run("extract", store, "--workers", "0")
    fork_server.run("verify", store, "--repair")
    assert before == {shard: seen for shard, seen in commits_of(store).items() if shard in before}
    assert not differing(store, finished_placeholder_store)


@pytest.mark.parametrize(
    ("seed", "n_kills"),
    [(0, 4), pytest.param(1, 15, marks=pytest.mark.slow), pytest.param(2, 15, marks=pytest.mark.slow)],
)
def test_create(seed, n_kills, fork_server, tiny_maestro, planned_placeholder_store, differing, tmp_path):
    """`plan` killed while it reads the corpus or makes the store: the result is no store or a whole one."""
    draw = random.Random(f"create {seed}")
    options = ("--encoders", "placeholder-audio,placeholder-midi", "--limit", "15", "--shard-rows", "4", "--jobs", "1")
    began = time.monotonic()
    fork_server.run("plan", tiny_maestro, tmp_path / "warm", *options)
    whole_s = time.monotonic() - began
    kills, attempts, killed_while_making = 0, 0, False
    while kills < n_kills or (not killed_while_making and attempts < 10 * n_kills):
        # A folder for each attempt, because one that ended before its kill leaves a store.
        store = tmp_path / f"{attempts}" / "store"
        store.parent.mkdir()
        attempts += 1
        plan = ("plan", tiny_maestro, store, *options)
        if kills % 2:
            pid = fork_server.start(*plan)
            fork_server.wait_for("making has begun", lambda folder=store.parent: any(folder.iterdir()))
            time.sleep(draw.uniform(0, 0.2 * whole_s) if killed_while_making else 0)
            kills += fork_server.kill(pid) != 0
        else:
            kills += start_and_kill(fork_server, draw.uniform(0, whole_s), *plan)
        killed_while_making |= any(store.parent.glob(".store.*.creating"))
        if store.exists():
            assert not differing(store, planned_placeholder_store)
        fork_server.run(*plan)
        assert not differing(store, planned_placeholder_store)
        assert [path.name for path in store.parent.iterdir()] == ["store"], (
            "leftovers of the killed process are removed"
        )
    assert killed_while_making, "no kill happened while the store was being made"


def test_a_killed_renderer_ends_in_an_error_with_the_next_step(
    fork_server, planned_placeholder_store, finished_placeholder_store, differing, tmp_path
):
    store = tmp_path / "store"
    shutil.copytree(planned_placeholder_store, store)
    pid = fork_server.start("extract", store, "--workers", "1")

    def renderers():
        """Render processes: children of the server that forks them."""
        running = fork_server.left_running(pid)
        return [process for process, parent in running.items() if parent != pid and parent in running]

    fork_server.wait_for("rendering has begun", lambda: any((store / "claims").iterdir()) and renderers())
    os.kill(renderers()[0], signal.SIGKILL)
    assert fork_server.wait(pid) == 1
    assert "a process that renders rows was killed" in fork_server.log(pid)
    assert "run the same command again" in fork_server.log(pid)
    assert not any((store / "claims").iterdir()), "claims of unfinished shards are released"
    fork_server.run("extract", store, "--workers", "0")
    assert not differing(store, finished_placeholder_store)
