"""Segments made in worker processes, or in this one."""

from __future__ import annotations

from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType

from keybed.extract.processes import process_pool
from keybed.extract.run.row_maker import RenderConfig, RenderedRow, RowMaker, SegmentJob
from keybed.store.errors import KeybedError


class WorkerDied(KeybedError):
    """A process that makes rows ended without an answer."""


class RowPool:
    """Makes segments in `workers` processes, or in this one where workers is 0 (the same bytes either way)."""

    def __init__(self, config: RenderConfig, workers: int) -> None:
        self._maker = RowMaker(config) if workers == 0 else None
        self._pool = process_pool(workers, _start, (config,)) if workers else None

    def submit(self, job: SegmentJob) -> Future[list[RenderedRow]]:
        """A future of the segment's rows. In-process work is done when the result is asked for."""
        if self._pool is not None:
            return self._pool.submit(_make, job)
        assert self._maker is not None
        return _Later(self._maker, job)

    def __enter__(self) -> RowPool:
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


class _Later(Future[list[RenderedRow]]):
    """Made on first demand, in the asking thread."""

    def __init__(self, maker: RowMaker, job: SegmentJob) -> None:
        super().__init__()
        self._maker, self._job = maker, job

    def result(self, timeout: float | None = None) -> list[RenderedRow]:
        if not self.done():
            self.set_result(self._maker.make(self._job))
        return super().result(timeout)


_maker: RowMaker | None = None


def _start(config: RenderConfig) -> None:
    global _maker
    _maker = RowMaker(config)


def _make(job: SegmentJob) -> list[RenderedRow]:
    assert _maker is not None
    return _maker.make(job)
