"""One task of an extraction: render, encode and commit its shards one after the other.

While one shard is encoded, the next one is rendered and those before are written. A task can be stopped between any
two rows and run again: committed shards stay, unfinished ones are made again.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import numpy as np
from numpy.typing import NDArray

from keybed import store as stores
from keybed.extract.config import ExtractConfig
from keybed.extract.encoders.self_check import check_line
from keybed.extract.processes import keep_freed_memory
from keybed.extract.progress import Progress, silent
from keybed.extract.run.check_recipe import (
    check_same_code,
    check_same_midi_reading,
    path_option,
    planned_encoders,
    render_config,
)
from keybed.extract.run.layers import chosen_parts, encoders_of, missing_parts
from keybed.extract.run.pipeline import Pipeline
from keybed.extract.run.row_pool import RowPool
from keybed.extract.run.shard import Stopped
from keybed.store import Store
from keybed.store.command import command
from keybed.store.counted import counted
from keybed.store.errors import KeybedError
from keybed.store.format.shards import as_ranges, shards_of_task
from keybed.store.format.vocabulary import Status


class ExtractError(KeybedError):
    """The extraction cannot begin with these arguments."""


@dataclass(frozen=True)
class ExtractReport:
    """What one task did; `lines` is the report in words."""

    store: Path
    made: tuple[int, ...]
    """Shards committed by this task."""
    skipped: Mapping[int, str]
    """Shards that another task holds or has committed, and why each was skipped."""
    already: int
    """How many of the requested shards were committed before."""
    left: int
    """How many shards of the whole store are not committed yet, of the encoders that this task makes."""
    rows: int
    failed_rows: Mapping[str, int]
    """Number of rows by status, among the rows made."""
    seconds: float
    stopped_by: int | None
    """The signal that stopped this task between two rows; None where none did."""
    again: str
    """The command that continues this extraction."""
    other_parts_left: bool = False
    """Whether encoders that this task does not make are not complete."""
    self_checks: tuple[str, ...] = ()
    """How far each encoder's arithmetic on this machine is from float64, in words."""
    speed: tuple[str, ...] = ()
    """What bound the rate, and the processor time of a row, in words."""

    @property
    def interrupted(self) -> bool:
        """Whether a signal stopped this task."""
        return self.stopped_by is not None

    def lines(self) -> list[str]:
        """The report in words, one line each."""
        rate = f", {self.rows / self.seconds:.1f} rows/s" if self.rows and self.seconds else ""
        lines = [f"made {counted(len(self.made), 'shard')}, {counted(self.rows, 'row')} in {self.seconds:.0f} s{rate}"]
        lines += [*self.speed, *self.self_checks]
        if self.already:
            lines.append(f"{counted(self.already, 'shard')} committed before, left as made")
        if self.failed_rows:
            failed = ", ".join(f"{name} {count}" for name, count in self.failed_rows.items())
            lines.append(f"rows that could not be made: {failed} (reasons: {command('status', self.store)})")
        lines += [f"shard {shard} left out: {reason}" for shard, reason in self.skipped.items()]
        if self.interrupted:
            return [*lines, f"stopped as asked; {counted(self.left, 'shard')} left. To go on: {self.again}"]
        if self.left:
            return [
                *lines,
                f"{counted(self.left, 'shard')} left to other tasks; next: {command('status', self.store)}",
            ]
        if self.other_parts_left:
            return [*lines, f"these encoders are complete, others are not; next: {command('status', self.store)}"]
        ask = command("phase2", self.store, "--out", self.store.with_name(f"{self.store.name}-phase2"))
        return [*lines, f"the store is complete; next: {command('verify', self.store)}, then {ask}"]


def extract(config: ExtractConfig, progress: Progress = silent) -> ExtractReport:
    """Make and commit this task's shards.

    SIGTERM and SIGINT stop it between two rows: the claims of unfinished shards are released and the report has
    `stopped_by` set. Raises ExtractError, and the errors of the store and of the encoders.
    """
    began = time.monotonic()
    store = stores.open(config.store)
    wanted = _wanted(store, config)
    parts = chosen_parts(store, config.layers)
    todo = missing_parts(store, wanted, parts)
    already = len(wanted) - len(todo)
    skipped = {} if None in parts else _without_rows(store, todo)
    todo = {shard: lacking for shard, lacking in todo.items() if shard not in skipped}
    committed: dict[int, NDArray[np.uint8]] = {}
    self_checks: tuple[str, ...] = ()
    speed: tuple[str, ...] = ()
    stopped_by: int | None = None
    if todo:
        if config.scratch is not None and not config.scratch.is_dir():
            raise ExtractError(f"--scratch {config.scratch}: no such folder")
        paths = {**store.machine_paths, **config.paths}
        check_same_midi_reading(store.recipe)
        check_same_code(store.recipe)
        rendering = render_config(store, paths)
        keep_freed_memory()  # each shard takes the same arrays again
        workers = len(os.sched_getaffinity(0)) if config.workers is None else config.workers
        lacking = {part for parts_of_shard in todo.values() for part in parts_of_shard}
        names = encoders_of(store, lacking)
        specs = tuple(spec for spec in store.recipe.encoders if spec.name in names)
        n_rows = len(todo) * store.recipe.shard_rows
        with _stop_signals() as stop, RowPool(rendering, workers, specs, n_rows=n_rows) as pool:
            pipeline = Pipeline(store, pool, todo, config.scratch, stop, progress, allow_drift=config.allow_drift)
            try:
                encoders = planned_encoders(store.recipe, paths, names)
                self_checks = tuple(line for line in map(check_line, encoders) if line is not None)
                pipeline.run(encoders)
            except Stopped:
                stopped_by = stop.number
        committed, skipped = pipeline.committed, skipped | pipeline.skipped
        speed = tuple(pipeline.speed_lines())
    counts = {status.name: 0 for status in Status if status not in (Status.OK, Status.NOT_MADE)}
    for statuses in committed.values():
        for code in statuses.tolist():
            if code != Status.OK:
                counts[Status(code).name] += 1
    return ExtractReport(
        store=config.store,
        made=tuple(sorted(committed)),
        skipped=skipped,
        already=already,
        left=len(missing_parts(store, range(store.n_shards), parts)),
        other_parts_left=bool(missing_parts(store, range(store.n_shards), store.parts)),
        rows=sum(statuses.size for statuses in committed.values()),
        failed_rows={name: count for name, count in counts.items() if count},
        seconds=time.monotonic() - began,
        stopped_by=stopped_by,
        self_checks=self_checks,
        speed=speed,
        again=command("extract", config.store, *_arguments(config)),
    )


def _wanted(store: Store, config: ExtractConfig) -> list[int]:
    if config.shards is None:
        if not 0 <= config.task < config.tasks:
            raise ExtractError(f"--task {config.task} --tasks {config.tasks}: tasks count from 0 to {config.tasks - 1}")
        return shards_of_task(store.n_shards, config.task, config.tasks)
    unknown = sorted(shard for shard in set(config.shards) if not 0 <= shard < store.n_shards)
    if unknown:
        raise ExtractError(f"--shards {as_ranges(unknown)}: {store.path} has shards 0 to {store.n_shards - 1}")
    return sorted(set(config.shards))


def _without_rows(store: Store, shards: Iterable[int]) -> dict[int, str]:
    """Shards whose rows are not committed, to which no encoder can be added yet."""
    without = sorted(set(shards) - store.committed)
    what = "its rows are not committed; without --layer they are made as well"
    return dict.fromkeys(without, what)


def _arguments(config: ExtractConfig) -> Iterator[str | Path]:
    """The options that make this task again."""
    if config.shards is not None:
        yield from ("--shards", as_ranges(config.shards))
    elif config.tasks > 1:
        yield from ("--task", str(config.task), "--tasks", str(config.tasks))
    if config.layers is not None:
        yield from ("--layer", ",".join(config.layers))
    if config.allow_drift:
        yield "--allow-drift"
    if config.scratch is not None:
        yield from ("--scratch", config.scratch)
    if config.workers is not None:
        yield from ("--workers", str(config.workers))
    for name, path in config.paths.items():
        yield from (path_option(name), path)


class StopRequest(threading.Event):
    """Set by the signal `number`; 0 where something else set it."""

    number = 0


@contextmanager
def _stop_signals() -> Iterator[StopRequest]:
    """A request that SIGTERM and SIGINT set; a second Ctrl-C raises KeyboardInterrupt.

    Python allows signal handlers in the main thread only; in another thread the event is never set.
    """
    stop = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def on_signal(number: int, frame: FrameType | None) -> None:
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.number = number
        stop.set()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
