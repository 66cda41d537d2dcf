"""What the C library does with memory that a training step has given back."""

from __future__ import annotations

import ctypes
from functools import cache

import jax

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Of glibc's malloc.h."""


@cache
def keep_freed_memory() -> bool:
    """Let this process keep what it frees instead of handing it back to the system; True where that could be told.

    XLA asks for one block of temporary memory a step on a CPU, tens of MB. glibc maps such a block anew every time, and
    the kernel clears each of its pages at the first touch: two fifths of a step of four heads in a trial. Resident
    memory then stays at its peak until the process ends. Nothing to tell on a GPU, or where the C library is not glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None or jax.default_backend() != "cpu":
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, 2**30) and mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))
