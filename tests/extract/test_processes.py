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
from keybed.extract.processes import process_pool
from keybed.extract.run.check_recipe import render_config
from keybed.extract.run.row_maker import segment_jobs
from keybed.extract.run.row_pool import RowPool, WorkerDied

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

    def lose_one() -> None:
        with RowPool(render_config(store, store.machine_paths), 2) as pool:
            pool.submit(jobs[0]).result()
            assert pool._pool is not None
            os.kill(next(iter(pool._pool._processes)), signal.SIGKILL)
            for job in jobs:
                pool.submit(job).result()

    with pytest.raises(WorkerDied, match="memory ran out"):
        lose_one()


@pytest.mark.slow
def test_workers_end_soon_after_sigterm_from_their_pool() -> None:
    with process_pool(1) as pool:
        pid = pool.submit(os.getpid).result()
        began = time.monotonic()
        os.kill(pid, signal.SIGTERM)
        assert pool.submit(os.getpid).result() == pid  # deaf for a while
        with pytest.raises(BrokenProcessPool):  # not after the two minutes that the work would take
            pool.submit(time.sleep, 120).result()
        assert time.monotonic() - began > 9
