"""Threads of numpy's and scipy's BLAS. A matrix product's last bits depend on them, so the recipe says how many."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute products on one thread inside the block: the baselines' are small, and more threads make them slower."""
    with threadpool_limits(limits=1, user_api="blas"):
        yield


def set_threads(threads: int) -> None:
    """Use this many threads from now on, whatever OPENBLAS_NUM_THREADS says."""
    threadpool_limits(limits=threads, user_api="blas")
