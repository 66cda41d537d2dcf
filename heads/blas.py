"""One thread for numpy's and scipy's BLAS. The matrices here are small: more threads mostly wait for each other, and spin meanwhile.

On 2 cores that others use too, two threads took 3 to 11 times the CPU time of one, and 3 to 10 times as long, for probes
of 64 to 1536 columns. `extract` has its own such module, since `extract` and `heads` do not import each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import scipy.linalg  # noqa: F401  (its BLAS is loaded before the controller looks for it)
from threadpoolctl import ThreadpoolController


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute matrix products and factorisations on one thread inside the block, or inside a function as its decorator."""
    with _controller().limit(limits=1, user_api="blas"):
        yield


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()
