"""One shard from planned rows to finished arrays. Worker processes render rows ahead of the encoders that read them."""

from __future__ import annotations

import hashlib
import math
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any, overload

import numpy as np
from numpy.typing import NDArray

from keybed.extract.audio.waveform import SAMPLE_RATE_HZ, RenderedRow
from keybed.extract.encoders.base import Clip, Encoder
from keybed.extract.run.row_maker import segment_jobs
from keybed.extract.run.row_pool import RowPool
from keybed.store import Store
from keybed.store.disk.durable import disk_error
from keybed.store.format.vocabulary import Status

_POLL_S = 0.2
_LABELS = ("score", "valid", "level", "difficulty")
_NO_AUDIO = np.empty(0, np.float32)


class Stopped(BaseException):
    """The task was asked to stop. Raised between two rows, so that no unfinished row is kept. Not an error."""


class ShardRows(Sequence[Clip | None]):
    """The rows of one shard in the form that encoders take. Indexing a row waits until it is rendered.

    scratch: a folder for the waveforms, in an unlinked temporary file that ends with the process; None keeps them in
    memory. stop: polled while waiting; the wait ends with Stopped once it returns true. on_row: called with the number
    of rows done so far.
    """

    def __init__(
        self,
        store: Store,
        shard: int,
        pool: RowPool,
        *,
        scratch: Path | None = None,
        stop: Callable[[], bool] = lambda: False,
        on_row: Callable[[int], None] = lambda done: None,
    ) -> None:
        self.start, self.stop_row = store.shard_range(shard)
        self.shard = shard
        self.window_s = float(store.recipe.segments["window_s"])
        self._pool, self._stop, self._on_row = pool, stop, on_row
        jobs = segment_jobs(store.columns(self.start, self.stop_row))
        self._job_of = [(number, index) for number, job in enumerate(jobs) for index in range(len(job.tiers))]
        self._rendered: dict[int, list[RenderedRow]] = {}
        self._n_reported = 0
        self._lock = threading.Lock()
        self._closed = False
        shape = (len(self), round(self.window_s * SAMPLE_RATE_HZ))
        self._file = None if scratch is None else _scratch_file(scratch, 4 * math.prod(shape))
        self._audio: NDArray[np.float32] = (
            np.empty(shape, np.float32)
            if self._file is None
            else np.memmap(self._file, dtype=np.float32, mode="r+", shape=shape)
        )
        first = np.cumsum([0, *(len(job.tiers) for job in jobs)])
        self._first_row = [int(row) for row in first[:-1]]
        self._futures = [pool.submit(job) for job in jobs]
        for number, future in enumerate(self._futures):
            future.add_done_callback(partial(self._on_done, number))

    def __len__(self) -> int:
        return self.stop_row - self.start

    @overload
    def __getitem__(self, row: int) -> Clip | None: ...
    @overload
    def __getitem__(self, row: slice) -> list[Clip | None]: ...
    def __getitem__(self, row: int | slice) -> Clip | list[Clip | None] | None:
        if isinstance(row, slice):
            return [self[i] for i in range(*row.indices(len(self)))]
        if row < 0:
            row += len(self)
        rendered = self.row(row)
        if rendered.status != Status.OK:
            return None
        return Clip(self._audio[row], rendered.variant.performance, self.window_s)

    def __iter__(self) -> Iterator[Clip | None]:
        return (self[row] for row in range(len(self)))

    def row(self, row: int) -> RenderedRow:
        """The rendered row, without its audio. Raises Stopped where the task was asked to stop."""
        if self._stop():
            raise Stopped
        number, index = self._job_of[row]
        while number not in self._rendered:
            future = self._futures[number]
            try:
                rendered = self._pool.result(future, _POLL_S)
            except NotYet:
                if not future.done():
                    if self._stop():
                        raise Stopped from None
                    continue
                rendered = self._pool.result(future)  # done by now, or the work itself raised a TimeoutError
            self._store_rows(number, rendered)
        done = row - index + len(self._rendered[number])
        if done > self._n_reported:  # each encoder walks through all rows; report each row once
            self._n_reported = done
            self._on_row(done)
        return self._rendered[number][index]

    def _on_done(self, number: int, future: Future[list[RenderedRow]]) -> None:
        """Store a segment's rows as soon as it is rendered. Called in the pool's thread."""
        if not future.cancelled() and future.exception() is None:
            self._store_rows(number, future.result())

    def _store_rows(self, number: int, rows: list[RenderedRow]) -> None:
        with self._lock:
            if self._closed or number in self._rendered:
                return
            for i, row in enumerate(rows):
                self._audio[self._first_row[number] + i] = row.audio
                row.audio = _NO_AUDIO
            self._rendered[number] = rows

    def close(self) -> None:
        """Cancel rendering that has not begun and free the waveforms."""
        for future in self._futures:
            future.cancel()
        with self._lock:
            self._closed = True
            self._audio = np.empty((0, 0), np.float32)
            if self._file is not None:
                self._file.close()


def _scratch_file(folder: Path, n_bytes: int) -> IO[bytes]:
    """An unlinked temporary file whose bytes are all on the disk. Raises StoreError, NoDiskSpace on a disk that is full.

    A write through a memory map to a full disk would kill the process without a message.
    """
    file = None
    try:
        file = tempfile.TemporaryFile(dir=folder, prefix="keybed-")  # noqa: SIM115
        os.posix_fallocate(file.fileno(), 0, n_bytes)
    except OSError as error:
        if file is not None:
            file.close()
        raise disk_error(error, folder) from error
    return file


@dataclass(frozen=True, eq=False)
class EncodedShard:
    """The arrays, failures and facts that `commit_shard` takes, and each encoder's seconds, waiting for rows included."""

    arrays: Mapping[str, np.ndarray]
    failures: Mapping[int, str]
    facts: Mapping[str, Any]
    seconds: Mapping[str, float] = field(default_factory=dict)


def encode_shard(rows: ShardRows, encoders: Sequence[Encoder]) -> EncodedShard:
    """Compute every task-written array of one shard. Each encoder gets all rows at once, in row order."""
    features: dict[str, np.ndarray] = {}
    seconds: dict[str, float] = {}
    for encoder in encoders:
        began = time.perf_counter()
        features |= feature_arrays(encoder, rows)
        seconds[encoder.spec.name] = round(time.perf_counter() - began, 3)
    rendered = [rows.row(row) for row in range(len(rows))]
    failures = {rows.start + i: row.reason for i, row in enumerate(rendered) if row.status != Status.OK}
    audio_sha256 = hashlib.sha256("".join(row.audio_sha256 for row in rendered).encode()).hexdigest()
    return EncodedShard({**features, **label_arrays(rendered)}, failures, {"audio_sha256": audio_sha256}, seconds)


def feature_arrays(encoder: Encoder, clips: Sequence[Clip | None]) -> dict[str, np.ndarray]:
    """One encoder's arrays by their paths in the store."""
    pooled, group = encoder.encode(clips), encoder.spec.group
    arrays: dict[str, np.ndarray] = {f"{group}/layers": pooled.layers, f"{group}/frames": pooled.frames}
    return {**arrays, f"{group}/mask": pooled.mask} if encoder.spec.has_mask else arrays


def label_arrays(rendered: Sequence[RenderedRow]) -> dict[str, np.ndarray]:
    """The task-written columns by their paths in the store."""
    arrays = {f"row/{label}": np.stack([getattr(row.variant, label) for row in rendered]) for label in _LABELS}
    arrays["row/waveform"] = np.stack([row.waveform for row in rendered])
    arrays["row/status"] = np.array([row.status for row in rendered], np.uint8)
    arrays["row/n_notes"] = np.array([row.variant.n_notes for row in rendered], np.int32)
    return arrays
