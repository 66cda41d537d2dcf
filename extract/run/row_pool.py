"""Make segments in worker processes, or in this process."""

from __future__ import annotations

from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType

from keybed.extract.audio.waveform import RenderedRow
from keybed.extract.processes import process_pool
from keybed.extract.run.row_maker import RenderConfig, RowMaker, SegmentJob
from keybed.store.errors import KeybedError


class WorkerDied(KeybedError):
    """A worker process ended before it returned its rows."""


class RowPool:
    """Makes segments in `workers` processes, or in this process where workers is 0. The bytes are the same."""

    def __init__(self, config: RenderConfig, workers: int) -> None:
        self._maker = RowMaker(config) if workers == 0 else None
        self._pool = process_pool(workers, _start, (config,)) if workers else None

    def submit(self, job: SegmentJob) -> Future[list[RenderedRow]]:
        """A future of the segment's rows. With workers=0 the work is done in the first call of `result`."""
        if self._pool is not None:
            return self._pool.submit(_make, job)
        assert self._maker is not None
        return _LazyFuture(self._maker, job)

    def __enter__(self) -> RowPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        if isinstance(error, BrokenProcessPool):
            raise WorkerDied(
                "a process that renders rows was killed, most often because memory ran out: give the task more memory, "
                "fewer --workers, or --scratch DIR, and run the same command again; committed shards stay"
            ) from error


class _LazyFuture(Future[list[RenderedRow]]):
    """Makes its rows in the first call of `result`, in the calling thread."""

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
