"""Threads of numpy's and scipy's BLAS. A matrix product's last bits depend on them, so the recipe says how many."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController, threadpool_limits


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute products on one thread inside the block: the baselines' are small, and more threads make them slower."""
    with _controller().limit(limits=1, user_api="blas"):
        yield


@cache
def _controller() -> ThreadpoolController:
    # Looking through the loaded libraries takes 1.5 ms; numpy's BLAS is among them from numpy's import on.
    return ThreadpoolController()


def set_threads(threads: int) -> None:
    """Use this many threads from now on, whatever OPENBLAS_NUM_THREADS says."""
    threadpool_limits(limits=threads, user_api="blas")
