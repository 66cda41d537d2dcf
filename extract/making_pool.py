"""Worker processes that make segments: they import no torch, outlive no parent, and leave signals to it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from types import TracebackType

from extract.making import Maker, RowMade, SegmentJob, Setting
from store.errors import KeybedError


class WorkerDied(KeybedError):
    """A process that makes rows ended without an answer."""


class MakingPool:
    """Makes segments in `workers` processes, or in this one where workers is 0 (the same bytes either way)."""

    def __init__(self, setting: Setting, workers: int) -> None:
        self._maker = Maker(setting) if workers == 0 else None
        self._pool = (
            ProcessPoolExecutor(
                workers,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=_start,
                initargs=(setting,),
            )
            if workers
            else None
        )

    def submit(self, job: SegmentJob) -> Future[list[RowMade]]:
        """A future of the segment's rows. In-process work is done when the result is asked for."""
        if self._pool is not None:
            return self._pool.submit(_make, job)
        assert self._maker is not None
        return _Later(self._maker, job)

    def __enter__(self) -> MakingPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        if isinstance(error, BrokenProcessPool):
            raise WorkerDied(
                "a process that renders rows was killed, most often for want of memory: give the task more memory, "
                "fewer --workers, or --scratch DIR; what is committed stays, run the same command again"
            ) from error


class _Later(Future[list[RowMade]]):
    """Made on first demand, in the asking thread."""

    def __init__(self, maker: Maker, job: SegmentJob) -> None:
        super().__init__()
        self._maker, self._job = maker, job

    def result(self, timeout: float | None = None) -> list[RowMade]:
        if not self.done():
            self.set_result(self._maker.make(self._job))
        return super().result(timeout)


_maker: Maker | None = None


def _start(setting: Setting) -> None:
    global _maker
    # The parent decides when to stop; Ctrl-C and Slurm signal the whole process group.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _maker = Maker(setting)


def _end_with_parent() -> None:
    """A parent killed outright shuts nothing down: without this its workers would wait for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def _make(job: SegmentJob) -> list[RowMade]:
    assert _maker is not None
    return _maker.make(job)
