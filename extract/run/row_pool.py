"""Make segments in worker processes, or in this process."""

from __future__ import annotations

from concurrent.futures import Future
from types import TracebackType

from keybed.extract.audio.waveform import RenderedRow
from keybed.extract.processes import WorkerPool, process_pool
from keybed.extract.run.row_maker import RenderConfig, RowMaker, SegmentJob

ADVICE = "give more memory or fewer --workers"


class RowPool:
    """Makes segments in `workers` processes, or in this process where workers is 0. The bytes are the same.

    advice: what a user can do when a worker is killed. Raises WorkerDied, from `submit`, `result` and the end of a `with`
    block.
    """

    def __init__(self, config: RenderConfig, workers: int, *, advice: str = ADVICE) -> None:
        self._maker = RowMaker(config) if workers == 0 else None
        self._pool: WorkerPool | None = None
        if workers:
            self._pool = process_pool(workers, _start, (config,), task="renders rows", advice=advice)

    def submit(self, job: SegmentJob) -> Future[list[RenderedRow]]:
        """A future of the segment's rows. With workers=0 the work is done in the first call of `result`."""
        if self._pool is not None:
            return self._pool.submit(_make, job)
        assert self._maker is not None
        return _LazyFuture(self._maker, job)

    def result(self, future: Future[list[RenderedRow]], timeout: float | None = None) -> list[RenderedRow]:
        """The rows of a future of `submit`. Raises TimeoutError after `timeout` seconds, and what making the rows raised."""
        return future.result(timeout) if self._pool is None else self._pool.result(future, timeout)

    def __enter__(self) -> RowPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.__exit__(kind, error, trace)


class _LazyFuture(Future[list[RenderedRow]]):
    """Makes its rows in the first call of `result`, in the calling thread."""

    def __init__(self, maker: RowMaker, job: SegmentJob) -> None:
        super().__init__()
        self._maker, self._job = maker, job

    def result(self, timeout: float | None = None) -> list[RenderedRow]:
        if not self.done():
            try:
                self.set_result(self._maker.make(self._job))
            except Exception as error:
                self.set_exception(error)
        return super().result(timeout)


_config: RenderConfig | None = None
_maker: RowMaker | None = None


def _start(config: RenderConfig) -> None:
    global _config
    _config = config


def _make(job: SegmentJob) -> list[RenderedRow]:
    # Not in _start: what that raises would reach nobody, and the pool would call the worker killed.
    global _maker
    assert _config is not None
    if _maker is None:
        _maker = RowMaker(_config)
    return _maker.make(job)
