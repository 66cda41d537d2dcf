"""Make segments in worker processes, or in this process."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from types import ModuleType, TracebackType
from typing import TypeVar

from keybed.extract.audio import note_sum
from keybed.extract.audio.waveform import RenderedRow
from keybed.extract.encoders import blas
from keybed.extract.encoders.baselines import expressive
from keybed.extract.processes import WorkerPool, process_pool
from keybed.extract.run.row_maker import FilledSegment, RenderConfig, RowMaker, SegmentJob
from keybed.extract.run.shard_file import RowsTarget
from keybed.store.format.recipe import EncoderSpec

T = TypeVar("T")

ADVICE = "give more memory or fewer --workers"
COMPILED_FROM_ROWS = 800
"""For fewer rows compiling loops takes longer (2.3 s) than it saves (3 ms per row)."""
OBJECTS_BETWEEN_COLLECTIONS = 20_000
"""New objects after which a rendering process looks for cycles, those of some fifteen rows.

Python's 700 are two looks per row, which take 2 % of its processor time; rows leave no cycles, only reading notes does.
"""
NICENESS = 5
"""Added to the niceness of the processes that render, so that the one that encodes and commits gets a core first: it feeds the GPU.

On an H100 with 16 renderers on 16 cores, MERT and MIDIBert: 384 rows/s with it, 312 without.
"""


def _with_kernels(config: RenderConfig, specs: Sequence[EncoderSpec]) -> tuple[ModuleType, ...]:
    """The modules that make these rows and whose loops can be compiled: each has KERNEL and `use_compiled_loops`."""
    audio = (note_sum,) if any(played.bank for played in config.instruments) else ()
    return (*audio, expressive) if any(spec.name in ("expressive", "expected") for spec in specs) else audio


class RowPool:
    """Makes segments in `workers` processes, or in this process where workers is 0. The bytes are the same.

    specs: the encoders that `fill` works for. n_rows: about how many rows will be made. advice: what a user can do when a
    worker is killed. Raises WorkerDied, from `submit`, `fill`, `result` and the end of a `with` block.
    """

    def __init__(
        self,
        config: RenderConfig,
        workers: int,
        specs: Sequence[EncoderSpec] = (),
        *,
        n_rows: int = 0,
        advice: str = ADVICE,
    ) -> None:
        self._maker = RowMaker(config, specs) if workers == 0 else None
        self._pool: WorkerPool | None = None
        compiled = _with_kernels(config, specs) if n_rows >= COMPILED_FROM_ROWS else ()
        if workers:
            self._pool = process_pool(
                workers,
                _start,
                (config, tuple(specs), bool(compiled)),
                task="renders rows",
                advice=advice,
                preload=[module.KERNEL for module in compiled],
            )
        else:
            for module in compiled:
                module.use_compiled_loops()

    def submit(self, job: SegmentJob) -> Future[list[RenderedRow]]:
        """A future of the segment's rows. With workers=0 the work is done in the first call of `result`."""
        if self._pool is not None:
            return self._pool.submit(_make, job)
        assert self._maker is not None
        maker = self._maker
        return _LazyFuture(lambda: maker.make(job))

    def fill(self, job: SegmentJob, target: RowsTarget) -> Future[FilledSegment]:
        """The same, with waveforms and features written into the file of `target`."""
        if self._pool is not None:
            return self._pool.submit(_fill, job, target)
        assert self._maker is not None
        maker = self._maker
        return _LazyFuture(lambda: maker.fill(job, target))

    def result(self, future: Future[T], timeout: float | None = None) -> T:
        """The result of a future of `submit` or `fill`. Raises TimeoutError after `timeout` seconds, and what the work raised."""
        return future.result(timeout) if self._pool is None else self._pool.result(future, timeout)

    def __enter__(self) -> RowPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.__exit__(kind, error, trace)


class _LazyFuture(Future[T]):
    """Works in the first call of `result`, in the calling thread."""

    def __init__(self, work: Callable[[], T]) -> None:
        super().__init__()
        self._work = work

    def result(self, timeout: float | None = None) -> T:
        if not self.done():
            try:
                self.set_result(self._work())
            except Exception as error:
                self.set_exception(error)
        return super().result(timeout)


_arguments: tuple[RenderConfig, tuple[EncoderSpec, ...]] | None = None
_maker: RowMaker | None = None


def _start(config: RenderConfig, specs: tuple[EncoderSpec, ...], compiled: bool) -> None:
    global _arguments
    _arguments = config, specs
    os.nice(NICENESS)
    blas.set_threads(1)  # one process per core renders
    for module in _with_kernels(config, specs) if compiled else ():
        module.use_compiled_loops()
    gc.freeze()
    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS)


def _maker_of_this_process() -> RowMaker:
    # Not made in _start: what that raises would reach nobody, and the pool would call the worker killed.
    global _maker
    assert _arguments is not None
    if _maker is None:
        _maker = RowMaker(*_arguments)
    return _maker


def _make(job: SegmentJob) -> list[RenderedRow]:
    return _maker_of_this_process().make(job)


def _fill(job: SegmentJob, target: RowsTarget) -> FilledSegment:
    return _maker_of_this_process().fill(job, target)
