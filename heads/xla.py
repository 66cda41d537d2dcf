"""XLA's settings: the optimisation level of `jax.jit` and glibc's malloc on a CPU, and compiled code kept between processes."""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import os
import platform
from collections.abc import Callable
from functools import cache, cached_property, update_wrapper
from pathlib import Path
from typing import Any, Generic, ParamSpec, TypeVar

import jax
from jax.experimental.compilation_cache import compilation_cache

P = ParamSpec("P")
R = TypeVar("R")

CACHE_BYTES = 2**30
"""Limit of the folder of compiled code; what was used longest ago goes first."""
CACHE_SECONDS = 0.3
"""Code that compiles in less is not kept."""

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


@cache
def keep_compiled_code() -> Path | None:
    """Let JAX keep compiled code in the user's cache folder, so that the next process need not compile it; its folder.

    None where the user has chosen a folder (JAX_COMPILATION_CACHE_DIR) or switched the cache off
    (JAX_ENABLE_COMPILATION_CACHE=false), and where the folder cannot be written. Each kind of processor has its own folder,
    because code compiled for one may not run on another that shares the home folder.
    """
    chosen = jax.config.jax_compilation_cache_dir or not jax.config.jax_enable_compilation_cache
    # JAX needs filelock for a cache with a limit.
    if chosen or importlib.util.find_spec("filelock") is None:
        return None
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = home / "keybed" / "jax" / f"{jax.__version__}-{_processor()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            return None
    except OSError:
        return None
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_compilation_cache_max_size", CACHE_BYTES)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", CACHE_SECONDS)
    # JAX looks for the folder at its first compilation, which may have been earlier.
    compilation_cache.reset_cache()
    return folder


def forget_compiled_code() -> None:
    """Free what JAX has traced and compiled in this process, tens of MB; code kept on disk is read again where it is called."""
    jax.clear_caches()


def _processor() -> str:
    """A short name of this kind of processor: its instruction sets decide what XLA compiles."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    kinds = ("vendor_id", "cpu family", "model", "flags", "Features", "CPU part")
    described = sorted({line for line in lines if line.split(":")[0].strip() in kinds})
    text = "\n".join([platform.machine(), platform.processor(), *described])
    return hashlib.sha256(text.encode()).hexdigest()[:12]
