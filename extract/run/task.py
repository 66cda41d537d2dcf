"""One task of an extraction: its shards, one after the other, from planned rows to commits.

While one shard is encoded, the next one is rendered and the last one is written. A task can be stopped between any two
rows and run again; what is committed stays, what is not is made anew.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from keybed import store as stores
from keybed.extract.encoders.base import Encoder
from keybed.extract.progress import Progress, silent
from keybed.extract.run.check_recipe import check_same_code, planned_encoders, render_config
from keybed.extract.run.machine import machine_kind
from keybed.extract.run.row_pool import RowPool
from keybed.extract.run.shard import EncodedShard, ShardRows, Stopped, encode_shard
from keybed.store import Store
from keybed.store.errors import AlreadyCommitted, KeybedError, ShardBusy
from keybed.store.format.shards import as_ranges, shards_of_task
from keybed.store.format.vocabulary import Status
from keybed.store.write.claims import Claim, claim
from keybed.store.write.commit import commit_shard


class ExtractError(KeybedError):
    """An extraction that cannot begin as it was asked for."""


@dataclass(frozen=True)
class ExtractConfig:
    """Everything that `keybed extract` can be told. None of it changes a number in the store."""

    store: Path
    task: int = 0
    tasks: int = 1
    shards: tuple[int, ...] | None = None
    """These shards instead of a task's share."""
    scratch: Path | None = None
    """A folder on a local disk for waveforms; memory where it is None."""
    workers: int | None = None
    """Processes that render; None: one a core, 0: none, all work in this process."""
    paths: Mapping[str, str] = field(default_factory=dict)
    """Where things lie here, if not where the plan found them: "maestro", "soundfont", "weights/<encoder>"."""


@dataclass(frozen=True)
class ExtractReport:
    """What one task did, for a person (`lines`) and for a program."""

    store: Path
    made: tuple[int, ...]
    """Shards committed by this task."""
    skipped: Mapping[int, str]
    """Shards left to others, and why."""
    already: int
    """Of the shards asked for, those that were committed before."""
    left: int
    """Shards of the whole store that nobody has committed yet."""
    rows: int
    failed_rows: Mapping[str, int]
    """Status -> number of rows among those made."""
    seconds: float
    interrupted: bool
    again: str
    """The command that goes on from here."""

    def lines(self) -> list[str]:
        """The report as a person reads it."""
        rate = f", {self.rows / self.seconds:.1f} rows/s" if self.rows and self.seconds else ""
        lines = [f"made {_shards(len(self.made))}, {self.rows:,} rows in {self.seconds:.0f} s{rate}"]
        if self.already:
            lines.append(f"{_shards(self.already)} committed before, left as made")
        if self.failed_rows:
            failed = ", ".join(f"{name} {count}" for name, count in self.failed_rows.items())
            lines.append(f"rows that could not be made: {failed} (reasons: keybed status {self.store})")
        lines += [f"shard {shard} left out: {reason}" for shard, reason in self.skipped.items()]
        if self.interrupted:
            return [*lines, f"stopped as asked; {_shards(self.left)} left. To go on: {self.again}"]
        if self.left:
            return [*lines, f"{_shards(self.left)} left to other tasks; next: keybed status {self.store}"]
        ask = f"keybed phase2 {self.store} --out {self.store}-phase2"
        return [*lines, f"the store is complete; next: keybed verify {self.store}, then {ask}"]


def _shards(number: int) -> str:
    return f"{number} shard" if number == 1 else f"{number} shards"


def extract(config: ExtractConfig, progress: Progress = silent) -> ExtractReport:
    """Make and commit this task's shards.

    SIGTERM and SIGINT stop it between two rows: claims of unfinished shards are given back, and the report says
    `interrupted`. Raises ExtractError, and the errors of the store and of the encoders.
    """
    began = time.monotonic()
    store = stores.open(config.store)
    wanted = _wanted(store, config)
    done_before = store.committed
    todo = [shard for shard in wanted if shard not in done_before]
    skipped: dict[int, str] = {}
    made: list[tuple[int, EncodedShard]] = []
    interrupted = False
    if todo:
        if config.scratch is not None and not config.scratch.is_dir():
            raise ExtractError(f"--scratch {config.scratch}: no such folder")
        places = {**store.machine_paths, **config.paths}
        check_same_code(store.recipe)
        rendering = render_config(store, places)
        workers = len(os.sched_getaffinity(0)) if config.workers is None else config.workers
        with _stop_signals() as stop, RowPool(rendering, workers) as pool:
            task = _Task(store, pool, todo, config.scratch, stop, progress, skipped)
            try:
                task.run(planned_encoders(store.recipe, places), made)
            except Stopped:
                interrupted = True
    counts = {status.name: 0 for status in Status if status not in (Status.OK, Status.NOT_MADE)}
    for _, shard_made in made:
        for code in shard_made.arrays["row/status"].tolist():
            if code != Status.OK:
                counts[Status(code).name] += 1
    return ExtractReport(
        store=config.store,
        made=tuple(shard for shard, _ in made),
        skipped=skipped,
        already=len(wanted) - len(todo),
        left=store.n_shards - len(store.committed),
        rows=sum(store.shard_range(shard)[1] - store.shard_range(shard)[0] for shard, _ in made),
        failed_rows={name: count for name, count in counts.items() if count},
        seconds=time.monotonic() - began,
        interrupted=interrupted,
        again=f"keybed extract {config.store}{_arguments(config)}",
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


def _arguments(config: ExtractConfig) -> str:
    if config.shards is not None:
        return f" --shards {as_ranges(config.shards)}"
    return f" --task {config.task} --tasks {config.tasks}" if config.tasks > 1 else ""


@dataclass(eq=False)
class _ClaimedShard:
    """A claimed shard whose rows are being rendered."""

    shard: int
    claim: Claim
    rows: ShardRows
    on_exit: ExitStack

    def give_back(self, error: BaseException) -> None:
        """Release the claim; the claim itself logs an error, and keeps silent about a stop."""
        self.on_exit.__exit__(type(error), error, error.__traceback__)


class _Task:
    """The pipeline: `held` is being encoded, `coming` rendered, `writing` committed."""

    def __init__(
        self,
        store: Store,
        pool: RowPool,
        todo: Sequence[int],
        scratch: Path | None,
        stop: threading.Event,
        progress: Progress,
        skipped: dict[int, str],
    ) -> None:
        self._store, self._pool, self._scratch, self._stop = store, pool, scratch, stop
        self._todo = iter(todo)
        self._n_todo, self._n_begun = len(todo), 0
        self._progress, self._skipped = progress, skipped
        self._machine: dict[str, str] = {}

    def run(self, encoders: Sequence[Encoder], made: list[tuple[int, EncodedShard]]) -> None:
        """Make every shard; `made` grows with each commit."""
        self._machine = machine_kind(encoders)
        writing: Future[None] | None = None
        held = coming = None
        with ThreadPoolExecutor(1, thread_name_prefix="commit") as writer:
            try:
                held = self._begin_next()
                while held is not None:
                    coming = self._begin_next()
                    shard_made = encode_shard(held.rows, encoders)
                    held.rows.close()
                    if writing is not None:
                        writing.result()
                    writing = writer.submit(self._commit, held, shard_made, made)
                    held, coming = coming, None
                if writing is not None:
                    writing.result()
            except BaseException as error:
                for unfinished in (held, coming):
                    if unfinished is not None:
                        unfinished.give_back(error)
                raise

    def _begin_next(self) -> _ClaimedShard | None:
        """Claim the next free shard and send its rows to the renderers; None after the last one."""
        for shard in self._todo:
            if self._stop.is_set():
                raise Stopped
            self._n_begun += 1
            on_exit = ExitStack()
            try:
                held_claim = on_exit.enter_context(claim(self._store, shard))
            except (ShardBusy, AlreadyCommitted) as reason:
                self._skipped[shard] = str(reason)
                continue
            rows = ShardRows(
                self._store,
                shard,
                self._pool,
                scratch=self._scratch,
                stop=self._stop.is_set,
                on_row=self._show(shard, self._n_begun),
            )
            on_exit.callback(rows.close)
            return _ClaimedShard(shard, held_claim, rows, on_exit)
        return None

    def _show(self, shard: int, number: int) -> _ShardProgress:
        start, stop = self._store.shard_range(shard)
        return _ShardProgress(self._progress, f"shard {shard} ({number} of {self._n_todo})", stop - start)

    def _commit(self, held: _ClaimedShard, made: EncodedShard, committed: list[tuple[int, EncodedShard]]) -> None:
        """In the writing thread; the claim ends with it, well or badly."""
        with held.on_exit:
            commit_shard(
                self._store,
                held.shard,
                made.arrays,
                claim=held.claim,
                failures=made.failures,
                facts=made.facts,
                log={"machine": self._machine, "encode_seconds": dict(made.seconds)},
            )
        kept = {"row/status": made.arrays["row/status"]}
        committed.append((held.shard, EncodedShard(kept, made.failures, made.facts, made.seconds)))


@dataclass(frozen=True)
class _ShardProgress:
    """Tells the progress of one shard's rows."""

    progress: Progress
    what: str
    total: int

    def __call__(self, made: int) -> None:
        self.progress(self.what, made, self.total)


@contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set; a second Ctrl-C interrupts at once. Only the main thread can listen."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def on_signal(number: int, frame: FrameType | None) -> None:
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
