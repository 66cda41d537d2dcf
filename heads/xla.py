"""`jax.jit`, told how hard LLVM shall try on a CPU."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache, cached_property, update_wrapper
from typing import Any, Generic, ParamSpec, TypeVar

import jax

P = ParamSpec("P")
R = TypeVar("R")

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Of glibc's malloc.h."""


class Jitted(Generic[P, R]):
    """A function that JAX compiles once for each set of shapes."""

    def __init__(self, function: Callable[P, R], level: int, how: dict[str, Any]) -> None:
        self._function, self._level, self._how = function, level, how
        update_wrapper(self, function)

    @cached_property
    def _jitted(self) -> Any:
        # the backend is looked up at the first call: to import this package must not start it
        on_cpu = {"xla_backend_optimization_level": self._level} if jax.default_backend() == "cpu" else None
        return jax.jit(self._function, compiler_options=on_cpu, **self._how)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Compile where these shapes are new, and run."""
        result: R = self._jitted(*args, **kwargs)
        return result

    def lower(self, *args: Any, **kwargs: Any) -> jax.stages.Lowered:
        """As of a function that `jax.jit` returned: shapes do for arrays."""
        lowered: jax.stages.Lowered = self._jitted.lower(*args, **kwargs)
        return lowered

    def n_compiled(self) -> int:
        """Shapes that calls were compiled for in this process."""
        return int(self._jitted._cache_size())


def jit(*, level: int, **how: Any) -> Callable[[Callable[P, R]], Jitted[P, R]]:
    """jax.jit with what LLVM optimises at `level` (0 to 3) on a CPU; as usual, 3, elsewhere. `how`: jax.jit's own settings.

    XLA's libraries do most of a step's arithmetic, so at level 1 its own loops run as fast as at 3 and compile in four fifths
    of the time. At level 0 a step takes one and a half to three and a half times as long: for what runs once and compiles longer.
    """
    return lambda function: Jitted(function, level, how)


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
