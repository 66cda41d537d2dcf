"""Cost per row in small and large stores, and of a task alone and beside another.

    python -m keybed.experiments.benchmarks.bench_scale             12 GB of files one after the other, 15 min
    python -m keybed.experiments.benchmarks.bench_scale --quick     1 min

Synthetic features of four encoders' real shapes (172 KB per row) replace rendering and encoding, whose cost does not depend
on other rows. Measured is the rest: creating, claiming, checking, compressing, syncing, committing, verifying, opening
and selecting. Goals: the cost per row at 1K, 4K and 16K rows equal within 15 %, the rate of a task
beside another within 15 % of its rate alone (on two cores and one disk), an empty store of 455,736 rows in under 10 s.

What grows with a store, by arithmetic. A task's work on a shard does not depend on other shards, so the cost per row grows
only through what is read as a whole. At 455,736 rows (446 shards of 1,024, four encoders) that is little: columns written by
the plan, 54 bytes per row, are 25 MB in every process that opens the store; columns written by tasks (score, level, difficulty
…) 52 MB more where rows are selected; `status` reads 446 commits of some kilobytes; 17 arrays make 7,600 files. At 100 times that: 2.5 GB of
columns in every task and 5.2 GB more in every experiment, 44,600 commits read every five seconds by `status --watch`, 760,000
files (which may exceed an inode quota; folders of 44,600 entries are listed slowly on network disks), and Slurm's 1,000 elements would hold
45 shards each. The columns reach a limit first; larger shards (`--shard-rows`) help with the rest, several stores with all.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keybed import store
from keybed.experiments.benchmarks import placeholder_store
from keybed.experiments.goal import goal_line
from keybed.store.check.verify import VerifyConfig, verify
from keybed.store.format.shards import shards_of_task
from keybed.store.write.claims import claim
from keybed.store.write.commit import commit_shard

FLAT = 0.15
FULL_ROWS = 455_736
CREATE_S = 10.0
SHARD_ROWS = 256
TURNS = 3
"""Each size is made this often, by turns; the fastest counts, because other load only adds time."""


@dataclass(frozen=True)
class Cost:
    """Seconds of each step for a whole store of `rows` rows, one task; cpu_s is this process's while committing."""

    rows: int
    create_s: float
    commit_s: float
    cpu_s: float
    verify_s: float
    open_and_select_s: float

    @property
    def commit_ms_per_row(self) -> float:
        """Milliseconds of committing per row."""
        return 1000 * self.commit_s / self.rows


def cost(folder: Path, rows: int) -> Cost:
    """Make one store with one task. All shards get the same features, so that making them costs nothing."""
    path = folder / f"rows-{rows}"
    begun = time.perf_counter()
    opened = placeholder_store.create(path, placeholder_store.recipe(rows, SHARD_ROWS))
    created = time.perf_counter()
    arrays = placeholder_store.arrays(opened, 0)
    committing, cpu = time.perf_counter(), time.process_time()
    _commit_all(opened, range(opened.n_shards), arrays)
    committed, cpu = time.perf_counter(), time.process_time() - cpu
    verify(VerifyConfig(path))
    verified = time.perf_counter()
    selected = store.open(path).rows("train")
    assert len(selected) > rows / 2
    result = Cost(
        rows, created - begun, committed - committing, cpu, verified - committed, time.perf_counter() - verified
    )
    shutil.rmtree(path)
    return result


def _commit_all(opened: store.Store, shards: range | list[int], arrays: dict[str, np.ndarray]) -> None:
    for shard in shards:
        start, stop = opened.shard_range(shard)
        with claim(opened, shard) as held:
            cut = {path: values[: stop - start] for path, values in arrays.items()}
            commit_shard(opened, shard, cut, claim=held, failures={}, facts={})


def rates(folder: Path, rows: int, tasks: int) -> list[float]:
    """Rows per second of each of `tasks` processes that fill one store at the same time."""
    path = folder / f"tasks-{tasks}"
    placeholder_store.create(path, placeholder_store.recipe(rows * tasks, SHARD_ROWS))
    command = [sys.executable, "-m", "keybed.experiments.benchmarks.bench_scale", "--fill", str(path)]
    processes = [
        subprocess.Popen([*command, str(task), str(tasks)], stdout=subprocess.PIPE, text=True) for task in range(tasks)
    ]
    rates_of_tasks = [float(process.communicate()[0]) for process in processes]
    shutil.rmtree(path)
    return rates_of_tasks


def fill(path: Path, task: int, tasks: int) -> None:
    """One task, as a process of its own; prints its rows per second."""
    opened = store.open(path)
    arrays = placeholder_store.arrays(opened, 0)
    mine = shards_of_task(opened.n_shards, task, tasks)
    begun = time.perf_counter()
    _commit_all(opened, mine, arrays)
    rows = sum(stop - start for start, stop in map(opened.shard_range, mine))
    print(rows / (time.perf_counter() - begun))


def create_at_full_size(folder: Path) -> float:
    """Seconds for the empty store of all of MAESTRO with four encoders."""
    begun = time.perf_counter()
    opened = placeholder_store.create(folder / "full", placeholder_store.recipe(FULL_ROWS, 1024, n_encoders=4))
    seconds = time.perf_counter() - begun
    assert opened.n_shards == 446
    shutil.rmtree(folder / "full")
    return seconds


def main() -> None:
    """Print costs, rates and goals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small stores, to see that it runs")
    parser.add_argument("--folder", type=Path, help="where to put the stores (default: the temporary folder)")
    parser.add_argument("--fill", nargs=3, metavar=("STORE", "TASK", "TASKS"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.fill:
        fill(Path(given.fill[0]), int(given.fill[1]), int(given.fill[2]))
        return
    sizes = (512, 1024, 2048) if given.quick else (1024, 4096, 16_384)
    folder = Path(tempfile.mkdtemp(prefix="bench-scale-", dir=given.folder))
    try:
        cost(folder, SHARD_ROWS)  # imports, first threads, first pages
        turns = [[cost(folder, rows) for rows in sizes] for _ in range(1 if given.quick else TURNS)]
        costs = [min(of_size, key=lambda c: c.commit_s) for of_size in zip(*turns, strict=True)]
        for c in costs:
            print(
                f"{c.rows:6d} rows: create {c.create_s:.2f} s, commit {c.commit_ms_per_row:.2f} ms per row "
                f"({1000 * c.cpu_s / c.rows:.2f} ms CPU), verify {1000 * c.verify_s / c.rows:.2f} ms per row, "
                f"open and select {c.open_and_select_s:.2f} s"
            )
        alone = max((rates(folder, sizes[1], 1) for _ in turns), key=min)
        beside = max((rates(folder, sizes[1], 2) for _ in turns), key=min)
        print(f"rows/s per task: alone {alone[0]:.0f}; two at once {', '.join(f'{rate:.0f}' for rate in beside)}")
        full_s = create_at_full_size(folder)
        per_row = [c.commit_ms_per_row for c in costs]
        cpu_per_row = [c.cpu_s / c.rows for c in costs]
        print(
            goal_line(
                "relative spread of the cost per row over store sizes", max(per_row) / min(per_row) - 1, FLAT, "at most"
            )
        )
        print(f"  the same in CPU seconds: {max(cpu_per_row) / min(cpu_per_row) - 1:.2f} ({os.cpu_count()} cores)")
        print(goal_line("loss of a task's rate beside another", 1 - min(beside) / alone[0], FLAT, "at most"))
        print(goal_line(f"seconds to create {FULL_ROWS:,} rows, four encoders", full_s, CREATE_S, "at most"))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
