"""`jax.jit`, told how hard LLVM shall try on a CPU."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, update_wrapper
from typing import Any, Generic, ParamSpec, TypeVar

import jax

P = ParamSpec("P")
R = TypeVar("R")


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
