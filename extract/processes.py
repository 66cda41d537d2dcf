"""Worker processes for all that runs beside the main one: quick to start, slow to take offence, gone with their parent."""

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

_LOADED_ONCE = ("keybed.extract.run.row_maker", "keybed.extract.corpus.parse")
"""Imported by the fork server, so that a worker costs a fork and not two seconds of imports. None of them loads torch."""
_PARENTS_CHOICE = {signal.SIGINT, signal.SIGTERM}
"""Ctrl-C and Slurm signal every process of a task; when to stop is for the parent to say."""
_GRACE_S = 10.0


def process_pool(
    n_workers: int, start: Callable[..., None] | None = None, arguments: tuple[Any, ...] = ()
) -> ProcessPoolExecutor:
    """A pool of processes that call start(*arguments) once each. Forked from a clean server, never from this process."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_LOADED_ONCE))
    # Started first, because whatever starts it unblocks both signals, and the server would be born without its mask.
    resource_tracker.ensure_running()
    # The server inherits the mask for life: a signal to the whole group cannot take it away while workers start.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _PARENTS_CHOICE)
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return ProcessPoolExecutor(n_workers, mp_context=context, initializer=_begin, initargs=(start, arguments))


def _begin(start: Callable[..., None] | None, arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end_later)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _PARENTS_CHOICE)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if start is not None:
        start(*arguments)


def _end_later(number: int, frame: FrameType | None) -> None:
    """Leave the parent time to end in good order; but end, for a pool that lost a worker waits for all others."""
    timer = threading.Timer(_GRACE_S, os._exit, (1,))
    timer.daemon = True
    timer.start()


def _end_with_parent() -> None:
    """A parent killed outright shuts nothing down: without this its workers would wait for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
