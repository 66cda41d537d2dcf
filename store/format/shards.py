"""Arithmetic of rows, shards and tasks. Pure functions.

A shard is a fixed range of rows that one task writes whole.
"""

from __future__ import annotations

from collections.abc import Iterable


def count(n_rows: int, shard_rows: int) -> int:
    """Number of shards for n_rows; the last one may be shorter."""
    return -(-n_rows // shard_rows)


def shard_range(shard: int, shard_rows: int, n_rows: int) -> tuple[int, int]:
    """Rows (start, stop) of a shard. Raises IndexError for a shard that does not exist."""
    n_shards = count(n_rows, shard_rows)
    if not 0 <= shard < n_shards:
        raise IndexError(f"shard {shard} does not exist: there are {n_shards}, numbered from 0")
    return shard * shard_rows, min(n_rows, (shard + 1) * shard_rows)


def shards_of_range(start: int, stop: int, shard_rows: int) -> range:
    """Shards that contain a row of [start, stop)."""
    return range(start // shard_rows, count(stop, shard_rows)) if stop > start else range(0)


def shards_of_task(n_shards: int, task: int, tasks: int) -> list[int]:
    """Shards of one of `tasks` tasks: every tasks-th one.

    Raises ValueError unless 0 ≤ task < tasks.
    """
    if not 0 <= task < tasks:
        raise ValueError(f"task {task} of {tasks}: tasks are numbered from 0 to {tasks - 1}")
    return list(range(task, n_shards, tasks))


def tasks_of_shards(shards: Iterable[int], tasks: int) -> list[int]:
    """Tasks that own any of these shards under `shards_of_task`, ascending."""
    return sorted({shard % tasks for shard in shards})


def runs(numbers: Iterable[int]) -> list[range]:
    """Runs of consecutive numbers, ascending: 3, 0, 1 → range(0, 2), range(3, 4)."""
    ranges: list[range] = []
    for number in sorted(set(numbers)):
        if ranges and number == ranges[-1].stop:
            ranges[-1] = range(ranges[-1].start, number + 1)
        else:
            ranges.append(range(number, number + 1))
    return ranges


def as_ranges(numbers: Iterable[int]) -> str:
    """Numbers as Slurm and `--shards` read them, e.g. `0-3,7,9-10`."""
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs(numbers))
