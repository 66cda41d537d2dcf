"""Several live tasks on one store: two arrays with different numbers of tasks, and a task that has lost its claim."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import time

import pytest


def test_two_live_arrays_with_different_numbers_of_tasks(
    fork_server, planned_placeholder_store, finished_placeholder_store, differing, tmp_path
):
    store = tmp_path / "store"
    shutil.copytree(planned_placeholder_store, store)
    arrays = [(task, tasks) for tasks in (3, 2) for task in range(tasks)]
    running = [
        fork_server.start("extract", store, "--task", str(task), "--tasks", str(tasks), "--workers", "0")
        for task, tasks in arrays
    ]
    for pid in running:
        assert fork_server.wait(pid) == 0, fork_server.log(pid)
        assert "Traceback" not in fork_server.log(pid)
    # Shards that one array skipped because the other had claimed them may be missing; the next run makes them.
    fork_server.run("extract", store, "--workers", "0")
    assert not differing(store, finished_placeholder_store)
    assert not any((store / "claims").iterdir())
    made = [int(n) for text in map(fork_server.log, running) for n in re.findall(r"made (\d+) shards?\b", text)]
    assert sum(made) <= 15, "no shard was made twice"


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 8))])
def test_a_requeued_task_that_resumes_publishes_nothing(
    seed, fork_server, planned_placeholder_store, finished_placeholder_store, differing, commits_of, tmp_path
):
    """A task hangs for eleven minutes, is taken over, and resumes in the middle of its work."""
    draw = random.Random(f"lost holder {seed}")
    store = tmp_path / "store"
    shutil.copytree(planned_placeholder_store, store)
    lost_holder = fork_server.start("extract", store, "--workers", "0")
    fork_server.wait_for("a claim", lambda: any((store / "claims").glob("[0-9]*.json")))
    time.sleep(draw.uniform(0, 0.8))

    def frozen_with_work_in_hand():
        """Freeze it; if it holds no unfinished shard, let it go on."""
        fork_server.freeze(lost_holder)
        finished = commits_of(store)
        claimed = [path for path in (store / "claims").glob("[0-9]*.json") if int(path.stem) not in finished]
        if not claimed:
            os.kill(lost_holder, signal.SIGCONT)
        return claimed

    fork_server.wait_for("it is stopped in the middle of its work", frozen_with_work_in_hand)
    claims = sorted((store / "claims").glob("[0-9]*.json"))

    second_run = fork_server.run_anyhow("extract", store, "--workers", "0")
    named = (f"process {lost_holder} on", "a task that is just starting")
    assert any(name in second_run for name in named), "a live claim is respected, and its holder named"
    eleven_minutes_ago = time.time() - 660
    for claim in claims:
        os.utime(claim, (eleven_minutes_ago, eleven_minutes_ago))
    fork_server.run("extract", store, "--workers", "0")
    finished = commits_of(store)
    assert len(finished) == 15

    os.kill(lost_holder, signal.SIGCONT)
    status = fork_server.wait(lost_holder)
    assert status in (0, 1), fork_server.log(lost_holder)
    assert "Traceback" not in fork_server.log(lost_holder)
    assert commits_of(store) == finished, "the lost holder published nothing"
    fork_server.run("verify", store, "--repair")
    assert commits_of(store) == finished
    assert not differing(store, finished_placeholder_store)


def test_sigterm_releases_the_claims_and_names_the_next_command(
    fork_server, planned_placeholder_store, finished_placeholder_store, differing, commits_of, tmp_path
):
    store = tmp_path / "store"
    shutil.copytree(planned_placeholder_store, store)
    pid = fork_server.start("extract", store, "--task", "1", "--tasks", "2", "--workers", "0")
    fork_server.wait_for("a first commit", lambda: commits_of(store))
    os.kill(pid, signal.SIGTERM)
    status = fork_server.wait(pid)
    assert status == 143, fork_server.log(pid)
    assert f"keybed extract {store} --task 1 --tasks 2" in fork_server.log(pid)
    assert not any((store / "claims").iterdir())
    before = commits_of(store)
    fork_server.run("extract", store, "--workers", "0")
    assert before == {shard: seen for shard, seen in commits_of(store).items() if shard in before}
    assert not differing(store, finished_placeholder_store)
