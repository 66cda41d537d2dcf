"""torch.compile with settings under which one kind of machine always computes the same bytes."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

OPTIONS = {"deterministic": True, "triton.autotune_pointwise": False}
"""One configuration per kernel, none chosen by timing: timing may choose another kernel, and sums then differ."""

Step = Callable[..., torch.Tensor]
Steps = TypeVar("Steps")


class NotCompiled(UserWarning):
    """This machine cannot compile a model, so it runs as written; its last bits differ from those of a compiled model."""


def compiled(
    name: str, steps: Sequence[Step], rehearse: Callable[[Sequence[Step]], Steps], backend: str | Step = "inductor"
) -> Steps | None:
    """Compile each step for the one shape that `rehearse` calls it with; return None, with a warning, where that fails.

    rehearse: runs the model once with the steps that it is given, which torch compiles then, and returns what the model
    shall use from then on. Raises torch.OutOfMemoryError.
    """
    from torch._inductor import config

    if backend == "inductor" and not hasattr(config, "deterministic"):
        _warn(name, f"torch {torch.__version__} compiles by timing alternatives, 2.9 does without")
        return None
    options = dict(OPTIONS) if backend == "inductor" else None
    try:
        faster = [
            torch.compile(step, fullgraph=True, dynamic=False, backend=backend, options=options) for step in steps
        ]
        # Few and small kernels: compile them in this process, not in a pool of processes that would stay.
        with config.patch(compile_threads=1):
            return rehearse(faster)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # no Triton, no C compiler, an old GPU, a removed option
        # torch puts the line "backend='inductor' raised:" before the error itself.
        reasons = (line for line in str(error).splitlines() if line.strip() and not line.endswith("raised:"))
        _warn(name, next(reasons, type(error).__name__))
        return None


def _warn(name: str, reason: str) -> None:
    warnings.warn(
        f"{name} is not compiled on this machine and runs slower ({reason}); the rows are as accurate, but their last bits "
        f"differ from those of a machine that compiles, and logs say so",
        NotCompiled,
        stacklevel=3,
    )
