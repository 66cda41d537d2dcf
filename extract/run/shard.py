"""One shard from planned rows to finished arrays. Worker processes render rows ahead of the encoders that read them."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from dataclasses import dataclass, field
from functools import partial
from typing import Any, overload

import numpy as np

from keybed.extract.audio.waveform import SAMPLE_RATE_HZ, RenderedRow
from keybed.extract.encoders import runs_in_renderer, takes_audio
from keybed.extract.encoders.base import Clip, Encoder
from keybed.extract.run.row_arrays import feature_arrays, label_arrays
from keybed.extract.run.row_maker import AUDIO, FilledSegment, segment_jobs
from keybed.extract.run.row_pool import RowPool
from keybed.extract.run.shard_file import ShardFiles
from keybed.store import Store
from keybed.store.format.array_specs import task_written
from keybed.store.format.recipe import EncoderSpec
from keybed.store.format.vocabulary import Status

_POLL_S = 0.2
_NO_AUDIO = np.empty(0, np.float32)


class Stopped(BaseException):
    """The task was asked to stop. Raised between two rows, so that no unfinished row is kept. Not an error."""


class ShardRows(Sequence[Clip | None]):
    """The rows of one shard in the form that encoders take. Indexing a row waits until it is rendered.

    specs: the encoders to compute. Those that run beside rendering write their features into the shard's file; the file
    holds the waveforms where another one takes them. files: where that file comes from; None for one of its own in memory.
    stop: polled while waiting; the wait ends with Stopped once it returns true. on_row: called with the number of rows done
    so far.
    """

    def __init__(
        self,
        store: Store,
        shard: int,
        pool: RowPool,
        specs: Sequence[EncoderSpec] | None = None,
        *,
        files: ShardFiles | None = None,
        stop: Callable[[], bool] = lambda: False,
        on_row: Callable[[int], None] = lambda done: None,
    ) -> None:
        self.start, self.stop_row = store.shard_range(shard)
        self.shard = shard
        self.window_s = float(store.recipe.segments["window_s"])
        self.waited_s = 0.0
        """Seconds in which an encoder waited for a row that was not rendered yet."""
        self.cpu_s: Counter[str] = Counter()
        """Processor seconds of the processes that render, by stage, as in FilledSegment."""
        self._pool, self._stop, self._on_row = pool, stop, on_row
        jobs = segment_jobs(store.columns(self.start, self.stop_row))
        self._job_of = [(number, index) for number, job in enumerate(jobs) for index in range(len(job.tiers))]
        self._rendered: dict[int, list[RenderedRow]] = {}
        self._n_reported = 0
        self._lock = threading.Lock()
        self._closed = False
        self._files = files
        arrays = _file_arrays(store, specs or store.recipe.encoders, self.window_s)
        self._file = (files or ShardFiles()).take(len(self), arrays)
        self._audio = self._file.get(AUDIO)
        first = np.cumsum([0, *(len(job.tiers) for job in jobs)])[:-1].tolist()
        self._futures = [
            pool.fill(job, self._file.target(first_row)) for job, first_row in zip(jobs, first, strict=True)
        ]
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
        audio = _NO_AUDIO if self._audio is None else self._audio[row]
        return Clip(audio, rendered.variant.performance, self.window_s, rendered.tokens)

    def __iter__(self) -> Iterator[Clip | None]:
        return (self[row] for row in range(len(self)))

    def row(self, row: int) -> RenderedRow:
        """The rendered row, without its audio. Raises Stopped where the task was asked to stop."""
        if self._stop():
            raise Stopped
        number, index = self._job_of[row]
        if number not in self._rendered:
            began = time.perf_counter()
            self._keep(number, self._wait(self._futures[number]))
            self.waited_s += time.perf_counter() - began
        done = row - index + len(self._rendered[number])
        if done > self._n_reported:  # each encoder walks through all rows; report each row once
            self._n_reported = done
            self._on_row(done)
        return self._rendered[number][index]

    def features(self) -> dict[str, np.ndarray]:
        """The arrays of the encoders that ran beside rendering, of all rows. Call it when all rows are done."""
        return {path: values[: len(self)].copy() for path, values in self._file.items() if path != AUDIO}

    def _wait(self, future: Future[FilledSegment]) -> FilledSegment:
        while True:
            try:
                return self._pool.result(future, _POLL_S)
            except NotYet:
                if future.done():
                    return self._pool.result(future)  # done by now, or the work itself raised a TimeoutError
                if self._stop():
                    raise Stopped from None

    def _on_done(self, number: int, future: Future[FilledSegment]) -> None:
        """Keep a segment's rows as soon as it is rendered. Called in the pool's thread."""
        if not future.cancelled() and future.exception() is None:
            self._keep(number, future.result())

    def _keep(self, number: int, filled: FilledSegment) -> None:
        with self._lock:
            if number not in self._rendered:
                self.cpu_s.update(filled.cpu_s)
                self._rendered[number] = filled.rows

    def close(self) -> None:
        """Cancel rendering that has not begun, and give the file back, or free it where a worker may still write into it.

        A second call does nothing: a file that was given back serves another shard by then.
        """
        if self._closed:
            return
        self._closed = True
        for future in self._futures:
            future.cancel()
        self._audio = None
        made = all(future.done() and not future.cancelled() and future.exception() is None for future in self._futures)
        if made and self._files is not None:
            self._files.give_back(self._file)
        else:
            self._file.close()


def _file_arrays(store: Store, specs: Sequence[EncoderSpec], window_s: float) -> dict[str, tuple[tuple[int, ...], str]]:
    """What the file of a shard holds: the waveforms, if an encoder here takes them, and features that renderers compute."""
    groups = {spec.group for spec in specs if runs_in_renderer(spec)}
    arrays = {
        array.path: (array.shape[1:], array.dtype)
        for array in task_written(store.specs)
        if array.path.rpartition("/")[0] in groups
    }
    if any(takes_audio(spec) and not runs_in_renderer(spec) for spec in specs):
        arrays[AUDIO] = ((round(window_s * SAMPLE_RATE_HZ),), "float32")
    return arrays


@dataclass(frozen=True, eq=False)
class EncodedShard:
    """The arrays, failures and facts that `commit_shard` takes.

    seconds: of each encoder that ran in this process, waiting for rows included. waited_s: how much of it was waiting.
    cpu_s: processor seconds of the processes that render, by stage.
    """

    arrays: Mapping[str, np.ndarray]
    failures: Mapping[int, str]
    facts: Mapping[str, Any]
    seconds: Mapping[str, float] = field(default_factory=dict)
    waited_s: float = 0.0
    cpu_s: Mapping[str, float] = field(default_factory=dict)


def encode_shard(rows: ShardRows, encoders: Sequence[Encoder]) -> EncodedShard:
    """Compute every task-written array of one shard. Each encoder of this process gets all rows at once, in row order."""
    features: dict[str, np.ndarray] = {}
    seconds: dict[str, float] = {}
    for encoder in encoders:
        if runs_in_renderer(encoder.spec):
            continue
        began = time.perf_counter()
        features |= feature_arrays(encoder, rows)
        seconds[encoder.spec.name] = round(time.perf_counter() - began, 3)
    rendered = [rows.row(row) for row in range(len(rows))]
    failures = {rows.start + i: row.reason for i, row in enumerate(rendered) if row.status != Status.OK}
    audio_sha256 = hashlib.sha256("".join(row.audio_sha256 for row in rendered).encode()).hexdigest()
    return EncodedShard(
        {**features, **rows.features(), **label_arrays(rendered)},
        failures,
        {"audio_sha256": audio_sha256},
        seconds,
        rows.waited_s,
        rows.cpu_s,
    )
