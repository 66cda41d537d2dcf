"""Overlap the work of successive shards: while one is encoded, the next is rendered and the previous one is written."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from keybed.extract.encoders.base import Encoder
from keybed.extract.progress import Progress
from keybed.extract.run.machine import machine_kind
from keybed.extract.run.row_pool import RowPool
from keybed.extract.run.shard import EncodedShard, ShardRows, Stopped, encode_shard
from keybed.store import Store
from keybed.store.errors import AlreadyCommitted, ShardBusy
from keybed.store.write.claims import Claim, claim
from keybed.store.write.commit import commit_shard


@dataclass(eq=False)
class _ClaimedShard:
    """A claimed shard whose rows are being rendered."""

    shard: int
    claim: Claim
    rows: ShardRows
    on_exit: ExitStack

    def release(self, error: BaseException) -> None:
        """Release the claim. The claim logs an error; it does not log Stopped."""
        self.on_exit.__exit__(type(error), error, error.__traceback__)


class Pipeline:
    """Renders, encodes and commits shards, with up to three of them in work at a time.

    committed: shard -> row status (rows,), in the order of the commits. skipped: shard -> why it was left out.
    """

    def __init__(
        self,
        store: Store,
        pool: RowPool,
        todo: Sequence[int],
        scratch: Path | None,
        stop: threading.Event,
        progress: Progress,
    ) -> None:
        self.committed: dict[int, NDArray[np.uint8]] = {}
        self.skipped: dict[int, str] = {}
        self._store, self._pool, self._scratch, self._stop = store, pool, scratch, stop
        self._todo = iter(todo)
        self._n_todo, self._n_begun = len(todo), 0
        self._progress = progress
        self._machine: dict[str, str] = {}
        self._self_check: dict[str, dict[str, float]] = {}

    def run(self, encoders: Sequence[Encoder]) -> None:
        """Make and commit every shard. Raises Stopped where `stop` was set; what is committed by then is in `committed`."""
        self._machine = machine_kind(encoders)
        self._self_check = {
            encoder.spec.name: asdict(encoder.self_check) for encoder in encoders if encoder.self_check is not None
        }
        writing: Future[None] | None = None
        current = following = None
        with ThreadPoolExecutor(1, thread_name_prefix="commit") as writer:
            try:
                current = self._claim_next()
                while current is not None:
                    following = self._claim_next()
                    encoded = encode_shard(current.rows, encoders)
                    current.rows.close()
                    if writing is not None:
                        writing.result()
                    writing = writer.submit(self._commit, current, encoded)
                    current, following = following, None
                if writing is not None:
                    writing.result()
            except BaseException as error:
                for unfinished in (current, following):
                    if unfinished is not None:
                        unfinished.release(error)
                raise

    def _claim_next(self) -> _ClaimedShard | None:
        """Claim the next free shard and send its rows to the pool; None after the last one."""
        for shard in self._todo:
            if self._stop.is_set():
                raise Stopped
            self._n_begun += 1
            on_exit = ExitStack()
            try:
                shard_claim = on_exit.enter_context(claim(self._store, shard))
            except (ShardBusy, AlreadyCommitted) as reason:
                self.skipped[shard] = str(reason)
                continue
            rows = ShardRows(
                self._store,
                shard,
                self._pool,
                scratch=self._scratch,
                stop=self._stop.is_set,
                on_row=self._row_progress(shard, self._n_begun),
            )
            on_exit.callback(rows.close)
            return _ClaimedShard(shard, shard_claim, rows, on_exit)
        return None

    def _row_progress(self, shard: int, number: int) -> Callable[[int], None]:
        start, stop = self._store.shard_range(shard)

        def show(done: int) -> None:
            self._progress(f"shard {shard} ({number} of {self._n_todo})", done, stop - start)

        return show

    def _commit(self, claimed: _ClaimedShard, encoded: EncodedShard) -> None:
        """Runs in the writing thread. The claim ends with it, whether the commit succeeds or fails."""
        with claimed.on_exit:
            commit_shard(
                self._store,
                claimed.shard,
                encoded.arrays,
                claim=claimed.claim,
                failures=encoded.failures,
                facts=encoded.facts,
                log={
                    "machine": self._machine,
                    "self_check": self._self_check,
                    "encode_seconds": dict(encoded.seconds),
                },
            )
        self.committed[claimed.shard] = np.asarray(encoded.arrays["row/status"])
