"""Pools of worker processes that start quickly, leave signals to their parent, end with it, and say which of them died."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import cache
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from types import FrameType, TracebackType
from typing import Any, ParamSpec, TypeVar

from keybed.store.errors import KeybedError

P = ParamSpec("P")
R = TypeVar("R")

_PRELOADED = ("keybed.extract.run.row_maker", "keybed.extract.corpus.parse", "scipy.signal", "scipy.ndimage")
"""Modules that the fork server imports, so that starting a worker takes a fork and not two seconds. None loads torch."""
_HANDLED_BY_PARENT = {signal.SIGINT, signal.SIGTERM}
"""Ctrl-C and Slurm signal every process of a task; the parent decides when workers stop."""
_GRACE_S = 10.0
_NO_ANSWER = (BrokenProcessPool, EOFError, ConnectionError)
"""What Python raises where a worker died: while it worked, or while it was started."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Constants of glibc's malloc.h."""


@cache
def keep_freed_memory() -> bool:
    """Tune glibc malloc so that freed arrays stay in the process; True where it was set.

    A row takes some fifty temporary arrays of 1 to 2 MB. By default glibc returns each to the kernel, which clears its
    pages at the next use: half of logmel's time. Does nothing where the C library is not glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(_M_MMAP_THRESHOLD, 2**30) and mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))


def return_freed_memory() -> bool:
    """Release freed memory, and tune glibc malloc so that large arrays freed from now on go back at once; True where it was set.

    For work whose few arrays of tens of MB have many shapes: kept blocks do not fit the next ones, and the process grows.
    """
    release_freed_memory()
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(_M_MMAP_THRESHOLD, 2**20) and mallopt(_M_TRIM_THRESHOLD, 2**20))


def release_freed_memory() -> None:
    """Give the kernel all memory that is free within malloc's blocks. Does nothing where the C library is not glibc."""
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)


class WorkerDied(KeybedError):
    """A worker process ended before it returned its result."""


class WorkerPool(ProcessPoolExecutor):
    """Worker processes that each call start(*arguments) once; made by `process_pool`.

    task: what the workers do, such as "renders rows". advice: what a user can do when one of them was killed. Raises
    WorkerDied, from `submit`, `result` and the end of a `with` block, where a worker ended before its work was done.
    """

    def __init__(
        self, n_workers: int, task: str, advice: str, start: Callable[..., None] | None, arguments: tuple[Any, ...]
    ) -> None:
        context = multiprocessing.get_context("forkserver")
        super().__init__(n_workers, mp_context=context, initializer=_begin, initargs=(start, arguments))
        self._n_workers, self._task, self._advice = n_workers, task, advice
        self._workers: list[BaseProcess] = []

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """As the base class does. A signal that comes while a worker is being started is handled after it has started.

        Otherwise Ctrl-C would leave half a request at the fork server, which answers it with a traceback.
        """
        try:
            if len(self._workers) >= self._n_workers:
                return super().submit(fn, *args, **kwargs)
            with _signals_afterwards():
                others = set(multiprocessing.active_children())
                future = super().submit(fn, *args, **kwargs)
                self._workers += set(multiprocessing.active_children()) - others
            return future
        except _NO_ANSWER as error:
            raise self._died() from error

    def result(self, future: Future[R], timeout: float | None = None) -> R:
        """`future.result`, with WorkerDied where the worker died."""
        try:
            return future.result(timeout)
        except BrokenProcessPool as error:
            raise self._died() from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for the running work; where an error ends the block, cancel what has not begun. Raises WorkerDied."""
        self.shutdown(cancel_futures=error is not None)
        if isinstance(error, (WorkerDied, *_NO_ANSWER)):
            # Only now: two threads that ask for the status of one process take it from each other.
            raise self._died([worker for worker in self._workers if worker.exitcode]) from error

    def _died(self, ended: list[BaseProcess] | None = None) -> WorkerDied:
        codes = {worker.pid: worker.exitcode or 0 for worker in ended or ()}
        # A pool that lost a worker ends the others itself; they end with status 1.
        killed = [f"process {pid}, {signal.Signals(-code).name}" for pid, code in codes.items() if code < 0]
        which = f" ({'; '.join(killed)})" if killed else ""
        return WorkerDied(
            f"a process that {self._task} was killed{which}, most often because memory ran out: {self._advice}, and run "
            "the same command again"
        )


def process_pool(
    n_workers: int,
    start: Callable[..., None] | None = None,
    arguments: tuple[Any, ...] = (),
    *,
    task: str = "works for this command",
    advice: str = "give the command more memory",
    preload: Sequence[str] = (),
) -> WorkerPool:
    """A pool of processes that each call start(*arguments) once. They are forked from a server, not from this process.

    preload: more modules that the server imports, if it does not run yet; one that cannot be imported is left out.
    """
    multiprocessing.get_context("forkserver").set_forkserver_preload([*_PRELOADED, *preload])
    # Started before the mask is set: starting it unblocks both signals, and the server would inherit no mask.
    resource_tracker.ensure_running()
    # The server inherits the mask: a signal to the whole process group cannot end it while workers start.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED_BY_PARENT)
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return WorkerPool(n_workers, task, advice, start, arguments)


@contextmanager
def _signals_afterwards() -> Iterator[None]:
    """Handle SIGINT and SIGTERM after the block. A mask is not enough: another thread would take the signal.

    Python handles signals in the main thread only; in another thread nothing needs to be held back.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = {number: signal.signal(number, lambda number, frame: came.append(number)) for number in _HANDLED_BY_PARENT}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for signal_number in dict.fromkeys(came):
            signal.raise_signal(signal_number)


def _begin(start: Callable[..., None] | None, arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end_later)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED_BY_PARENT)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if start is not None:
        start(*arguments)


def _end_later(number: int, frame: FrameType | None) -> None:
    """End after _GRACE_S, so that the parent can stop in good order first.

    Not ignored altogether: a pool that lost a worker waits for all others to end.
    """
    timer = threading.Timer(_GRACE_S, os._exit, (1,))
    timer.daemon = True
    timer.start()


def _end_with_parent() -> None:
    """End this worker when its parent ends. A parent that is killed does not shut its pool down."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
