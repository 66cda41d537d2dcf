"""Overlap the work of successive shards: while one is encoded, the next is rendered and those before are written."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from keybed.extract.encoders.base import Encoder
from keybed.extract.progress import Progress
from keybed.extract.run.layers import Parts, arrays_of, encoders_of, facts_of_layer
from keybed.extract.run.machine import machine_kind
from keybed.extract.run.row_pool import RowPool
from keybed.extract.run.shard import EncodedShard, ShardRows, Stopped, encode_shard
from keybed.extract.run.shard_file import ShardFiles
from keybed.store import Store
from keybed.store.errors import AlreadyCommitted, EncoderDropped, ShardBusy
from keybed.store.format.recipe import EncoderSpec
from keybed.store.write.claims import Claim, claim
from keybed.store.write.commit import commit_shard
from keybed.store.write.work_time import WorkTime

WRITERS = 2
"""Shards that are written at the same time, so that their waits for the disk overlap."""
TURN_S = 0.0005
"""How long a thread may keep Python's interpreter while another waits for it.

The thread that encodes gives it up at every call into torch. Beside a commit it waited 12 to 40 % of its working time to get
it back with Python's 5 ms, 9 to 22 % with 0.5 ms (three turns each on two busy cores).
"""


@contextmanager
def _short_turns() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(TURN_S)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


@dataclass(eq=False)
class _ClaimedShard:
    """A claimed shard whose rows are being rendered. claims: of each part of it that is made (`extract.run.layers`)."""

    shard: int
    claims: Mapping[str | None, tuple[Claim, ExitStack]]
    rows: ShardRows
    on_exit: ExitStack

    def release(self, error: BaseException) -> None:
        """Release the claim. The claim logs an error; it does not log Stopped."""
        self.on_exit.__exit__(type(error), error, error.__traceback__)


class Pipeline:
    """Renders, encodes and commits shards, with up to four of them in work at a time.

    todo: shard -> the parts of it to make. committed: shard -> row status (rows,), in the order of the commits. skipped:
    shard -> why it, or a part of it, was left out. time: of the thread that computes features. cpu_s: processor seconds of
    the processes that render, by stage.
    """

    def __init__(
        self,
        store: Store,
        pool: RowPool,
        todo: Mapping[int, Parts],
        scratch: Path | None,
        stop: threading.Event,
        progress: Progress,
        *,
        allow_drift: bool = False,
    ) -> None:
        self.committed: dict[int, NDArray[np.uint8]] = {}
        self.skipped: dict[int, str] = {}
        self.time = WorkTime()
        self.cpu_s: Counter[str] = Counter()
        self._store, self._pool, self._files, self._stop = store, pool, ShardFiles(scratch), stop
        self._todo = iter(todo.items())
        self._allow_drift = allow_drift
        self._n_todo, self._n_begun = len(todo), 0
        self._progress = progress
        self._machine: dict[str, str] = {}
        self._specs: list[EncoderSpec] = []
        self._self_check: dict[str, dict[str, float]] = {}

    def run(self, encoders: Sequence[Encoder]) -> None:
        """Make and commit every shard. Raises Stopped where `stop` was set; what is committed by then is in `committed`."""
        self._machine = machine_kind(encoders)
        self._specs = [encoder.spec for encoder in encoders]
        self._self_check = {
            encoder.spec.name: asdict(encoder.self_check) for encoder in encoders if encoder.self_check is not None
        }
        writing: deque[Future[None]] = deque()
        current = following = None
        with _short_turns(), ThreadPoolExecutor(WRITERS, thread_name_prefix="commit") as writer:
            try:
                current = self._claim_next()
                while current is not None:
                    following = self._claim_next()
                    names = encoders_of(self._store, current.claims)
                    began = time.perf_counter()
                    encoded = encode_shard(current.rows, [e for e in encoders if e.spec.name in names])
                    current.rows.close()
                    made = time.perf_counter()
                    if len(writing) == WRITERS:
                        writing.popleft().result()
                    took = WorkTime(
                        encoded.waited_s, made - began - encoded.waited_s, disk_s=time.perf_counter() - made
                    )
                    self.time += took
                    self.cpu_s.update(encoded.cpu_s)
                    writing.append(writer.submit(self._commit, current, encoded, took))
                    current, following = following, None
                for commit in writing:
                    commit.result()
            except BaseException as error:
                for unfinished in (current, following):
                    if unfinished is not None:
                        unfinished.release(error)
                raise
            finally:
                self._files.close()

    def speed_lines(self) -> Iterator[str]:
        """What bound the rate, and the processor time of a row, in words."""
        bound = self.time.line(gpu=self._machine.get("gpu", "none") != "none")
        if bound is not None:
            yield bound
        n_rows = sum(status.size for status in self.committed.values())
        if self.cpu_s and n_rows:
            stages = ", ".join(f"{stage} {1e3 * seconds / n_rows:.1f}" for stage, seconds in self.cpu_s.items())
            yield f"processor time of the processes that render, ms per row: {stages}"

    def _claim_next(self) -> _ClaimedShard | None:
        """Claim the next free shard and send its rows to the pool; None after the last one."""
        for shard, parts in self._todo:
            if self._stop.is_set():
                raise Stopped
            self._n_begun += 1
            on_exit = ExitStack()
            claims = self._claim_parts(shard, parts, on_exit)
            if not claims:
                continue
            rows = ShardRows(
                self._store,
                shard,
                self._pool,
                self._specs,
                files=self._files,
                stop=self._stop.is_set,
                on_row=self._row_progress(shard, self._n_begun),
            )
            on_exit.callback(rows.close)
            return _ClaimedShard(shard, claims, rows, on_exit)
        return None

    def _claim_parts(self, shard: int, parts: Parts, on_exit: ExitStack) -> dict[str | None, tuple[Claim, ExitStack]]:
        """Claim what is free of these parts; without its rows an added encoder cannot be committed."""
        claims: dict[str | None, tuple[Claim, ExitStack]] = {}
        for part in parts:
            of_part = on_exit.enter_context(ExitStack())
            try:
                claims[part] = of_part.enter_context(claim(self._store, shard, part)), of_part
            except (ShardBusy, AlreadyCommitted, EncoderDropped) as reason:
                self.skipped[shard] = f"{self.skipped[shard]}; {reason}" if shard in self.skipped else str(reason)
                if part is None and not isinstance(reason, AlreadyCommitted):
                    break
        return claims

    def _row_progress(self, shard: int, number: int) -> Callable[[int], None]:
        start, stop = self._store.shard_range(shard)

        def show(done: int) -> None:
            self._progress(f"shard {shard} ({number} of {self._n_todo})", done, stop - start)

        return show

    def _commit(self, claimed: _ClaimedShard, encoded: EncodedShard, took: WorkTime) -> None:
        """Runs in the writing thread. The claims end with it, whether the commits succeed or fail."""
        with claimed.on_exit:
            for part, (held, of_part) in claimed.claims.items():
                with of_part:
                    self._commit_part(claimed.shard, part, held, encoded, took)
        self.committed[claimed.shard] = np.asarray(encoded.arrays["row/status"])

    def _commit_part(self, shard: int, part: str | None, held: Claim, encoded: EncodedShard, took: WorkTime) -> None:
        facts = encoded.facts
        if part is not None:
            facts = facts_of_layer(
                self._store, shard, encoded.arrays, facts, self._machine, allow_drift=self._allow_drift
            )
        names = encoders_of(self._store, (part,))
        commit_shard(
            self._store,
            shard,
            arrays_of(self._store, part, encoded.arrays),
            claim=held,
            failures=encoded.failures,
            facts=facts,
            log={
                "machine": self._machine,
                "self_check": {name: check for name, check in self._self_check.items() if name in names},
                "encode_seconds": {name: seconds for name, seconds in encoded.seconds.items() if name in names},
                "render_cpu_seconds": {stage: round(seconds, 3) for stage, seconds in encoded.cpu_s.items()},
                "work_time": took.to_json(),
            },
            layer=part,
        )
