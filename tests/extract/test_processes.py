from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from keybed import store as stores
from keybed.extract.processes import WorkerDied, process_pool
from keybed.extract.run.check_recipe import render_config
from keybed.extract.run.row_maker import segment_jobs
from keybed.extract.run.row_pool import RowPool

EXTRACT = """
import sys
from pathlib import Path
from keybed.extract.config import ExtractConfig
from keybed.extract.run.task import extract
if __name__ == "__main__":
    print("begun", flush=True)
    report = extract(ExtractConfig(Path(sys.argv[1]), workers=2), lambda what, done, total: print("row", flush=True))
    print("interrupted" if report.interrupted else "done", flush=True)
"""


def group_of(script: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(script), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.parametrize("after", ["begun", pytest.param("0.5 s", marks=pytest.mark.slow), "row"])
def test_a_signal_to_the_whole_group_stops_in_good_order(planned_store: Path, tmp_path: Path, after: str) -> None:
    store = Path(shutil.copytree(planned_store, tmp_path / "store"))
    script = tmp_path / "task.py"
    script.write_text(EXTRACT)
    task = group_of(script, str(store))
    assert task.stdout is not None
    try:
        for awaited in ("begun", "row") if after == "row" else ("begun",):
            while (line := task.stdout.readline()).strip() != awaited:
                assert line, f"it ended before {awaited!r}"
        if after == "0.5 s":
            time.sleep(0.5)
        # Before `extract` listens, SIGTERM ends a program as it ends any other.
        os.killpg(task.pid, signal.SIGTERM)
        out, errors = task.communicate(timeout=180)
    finally:
        if task.poll() is None:
            os.killpg(task.pid, signal.SIGKILL)
    assert task.returncode == -signal.SIGTERM or out.split()[-1] == "interrupted"
    assert after != "row" or task.returncode == 0
    assert "Traceback" not in errors
    if task.returncode == 0:
        assert not list((store / "claims").iterdir())


def test_a_worker_that_is_killed_is_an_error_in_words_and_not_a_wait(planned_store: Path) -> None:
    store = stores.open(planned_store)
    jobs = segment_jobs(store.columns(0, 40))

    killed = []

    def lose_one() -> None:
        with RowPool(render_config(store, store.machine_paths), 2) as pool:
            pool.submit(jobs[0]).result()
            assert pool._pool is not None
            killed.append(next(iter(pool._pool._processes)))
            os.kill(killed[0], signal.SIGKILL)
            for job in jobs:
                pool.result(pool.submit(job))

    with pytest.raises(WorkerDied, match="memory ran out") as caught:
        lose_one()
    assert f"a process that renders rows was killed (process {killed[0]}, SIGKILL)" in str(caught.value)
    assert "fewer --workers, and run the same command again" in str(caught.value)


def test_a_fork_server_that_is_killed_is_an_error_in_words_too() -> None:
    from multiprocessing.forkserver import _forkserver  # type: ignore[attr-defined]

    def lose_the_server() -> None:
        with process_pool(2, task="reads MIDI", advice="give fewer --jobs") as pool:
            assert pool.submit(abs, -1).result() == 1
            os.kill(_forkserver._forkserver_pid, signal.SIGKILL)
            # Until it has ended, the next pool would take it for a server that still runs.
            os.waitid(os.P_PID, _forkserver._forkserver_pid, os.WEXITED | os.WNOWAIT)
            pool.result(pool.submit(time.sleep, 60))

    with pytest.raises(WorkerDied, match=r"a process that reads MIDI was killed.* give fewer --jobs, and run"):
        lose_the_server()
    with process_pool(1) as pool:  # the next pool starts a server of its own
        assert pool.submit(abs, -2).result() == 2


def test_ctrl_c_while_workers_start_leaves_no_traceback(tmp_path: Path) -> None:
    """The signal comes while the fork server still imports, so that the first worker has not been started yet."""
    script = tmp_path / "start.py"
    script.write_text(
        """
import os, signal, sys, threading
from keybed.extract.processes import process_pool
if __name__ == "__main__":
    try:
        with process_pool(2) as pool:
            threading.Timer(0.05, os.kill, (0, signal.SIGINT)).start()
            for value in pool.map(abs, range(1000)):
                pass
            threading.Event().wait(60)
    except KeyboardInterrupt:
        sys.exit(130)
"""
    )
    done = group_of(script)
    _, errors = done.communicate(timeout=180)
    assert (done.returncode, errors) == (130, "")


@pytest.mark.slow
def test_workers_end_soon_after_sigterm_from_their_pool() -> None:
    with process_pool(1) as pool:
        pid = pool.submit(os.getpid).result()
        began = time.monotonic()
        os.kill(pid, signal.SIGTERM)
        assert pool.submit(os.getpid).result() == pid  # it ignores signals for a while
        with pytest.raises(BrokenProcessPool):  # not after the two minutes that the work would take
            pool.submit(time.sleep, 120).result()
        assert time.monotonic() - began > 9
