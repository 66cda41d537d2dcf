"""Worker processes for everything here that runs beside the main one: quick to start, deaf to signals, gone with their parent."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.connection import wait
from typing import Any

_LOADED_ONCE = ("extract.making", "extract.parse")
"""Imported by the fork server, so that a worker costs a fork and not two seconds of imports. None of them loads torch."""


def process_pool(
    n_workers: int, start: Callable[..., None] | None = None, arguments: tuple[Any, ...] = ()
) -> ProcessPoolExecutor:
    """A pool of processes that call start(*arguments) once each. Forked from a clean server, never from this process."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_LOADED_ONCE))
    return ProcessPoolExecutor(n_workers, mp_context=context, initializer=_begin, initargs=(start, arguments))


def _begin(start: Callable[..., None] | None, arguments: tuple[Any, ...]) -> None:
    # The parent decides when to stop; Ctrl-C and Slurm signal the whole process group.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if start is not None:
        start(*arguments)


def _end_with_parent() -> None:
    """A parent killed outright shuts nothing down: without this its workers would wait for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
