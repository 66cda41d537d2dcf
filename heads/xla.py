"""XLA on a CPU: the optimisation level of `jax.jit`, and glibc malloc tuned so that freed buffers stay in the process."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache, cached_property, update_wrapper
from typing import Any, Generic, ParamSpec, TypeVar

import jax

P = ParamSpec("P")
R = TypeVar("R")

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Constants of glibc's malloc.h."""


class Jitted(Generic[P, R]):
    """A function that JAX compiles once per set of shapes."""

    def __init__(self, function: Callable[P, R], level: int, settings: dict[str, Any]) -> None:
        self._function, self._level, self._settings = function, level, settings
        update_wrapper(self, function)

    @cached_property
    def _jitted(self) -> Any:
        # read the backend at the first call: an import must not start it
        on_cpu = {"xla_backend_optimization_level": self._level} if jax.default_backend() == "cpu" else None
        return jax.jit(self._function, compiler_options=on_cpu, **self._settings)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run; compile first where these shapes are new."""
        result: R = self._jitted(*args, **kwargs)
        return result

    def lower(self, *args: Any, **kwargs: Any) -> jax.stages.Lowered:
        """`jax.jit(function).lower`; shapes may stand for arrays."""
        lowered: jax.stages.Lowered = self._jitted.lower(*args, **kwargs)
        return lowered

    def n_compiled(self) -> int:
        """Number of shapes that calls were compiled for in this process."""
        return int(self._jitted._cache_size())


def jit(*, level: int, **settings: Any) -> Callable[[Callable[P, R]], Jitted[P, R]]:
    """`jax.jit` with LLVM's optimisation level 0 to 3 on a CPU; elsewhere XLA's default. `settings`: arguments of jax.jit.

    XLA's libraries do most of a step's arithmetic, so level 1 runs as fast as level 3 and compiles in four fifths of the time.
    At level 0 a step takes 1.5 to 3.5 times as long: use it for functions that run once and compile for longer than they run.
    """
    return lambda function: Jitted(function, level, settings)


@cache
def keep_freed_memory() -> bool:
    """Tune glibc malloc so that freed training buffers stay in the process; True where it was set.

    On a CPU each step allocates one temporary block of tens of MB. By default glibc maps it anew every time, and the kernel
    clears each page at its first use: two fifths of a step of four heads in a trial. Resident memory then stays at its peak
    until the process ends. Does nothing on a GPU, or where the C library is not glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None or jax.default_backend() != "cpu":
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, 2**30) and mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))
