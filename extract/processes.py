"""Pools of worker processes that start quickly, leave signals to their parent, and end with it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import wait
from types import FrameType
from typing import Any

_PRELOADED = ("keybed.extract.run.row_maker", "keybed.extract.corpus.parse")
"""Modules that the fork server imports, so that starting a worker takes a fork and not two seconds. None loads torch."""
_HANDLED_BY_PARENT = {signal.SIGINT, signal.SIGTERM}
"""Ctrl-C and Slurm signal every process of a task; the parent decides when workers stop."""
_GRACE_S = 10.0


def process_pool(
    n_workers: int, start: Callable[..., None] | None = None, arguments: tuple[Any, ...] = ()
) -> ProcessPoolExecutor:
    """A pool of processes that each call start(*arguments) once. They are forked from a server, not from this process."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_PRELOADED))
    # Started before the mask is set: starting it unblocks both signals, and the server would inherit no mask.
    resource_tracker.ensure_running()
    # The server inherits the mask: a signal to the whole process group cannot end it while workers start.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED_BY_PARENT)
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return ProcessPoolExecutor(n_workers, mp_context=context, initializer=_begin, initargs=(start, arguments))


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
