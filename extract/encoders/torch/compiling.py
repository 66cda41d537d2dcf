"""torch.compile for the parts of a model that repeat, in a way that leaves the same bytes to the same kind of machine."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import torch

OPTIONS = {"deterministic": True, "triton.autotune_pointwise": False}
"""One configuration for every kernel, none chosen by timing: timing chooses otherwise on another day, and so sums do too."""

Step = Callable[..., torch.Tensor]


class NotCompiled(UserWarning):
    """A model runs as it is written, because this machine cannot compile it; its last bits are not a compiled model's."""


def compiled(
    name: str, steps: Sequence[Step], rehearse: Callable[[Sequence[Step]], object], backend: str | Step = "inductor"
) -> Sequence[Step] | None:
    """The steps compiled, each for the one shape that `rehearse` calls it with; None, with a warning, where that fails.

    rehearse: runs the model once on the steps that it is given; compiling happens there. Raises torch.OutOfMemoryError.
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
        # Few and small kernels: compiled here and not by a pool of processes that would outlive them.
        with config.patch(compile_threads=1):
            rehearse(faster)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # no Triton, no C compiler, an old card, an option that is gone
        # torch puts "backend='inductor' raised:" before what happened.
        told = (line for line in str(error).splitlines() if line.strip() and not line.endswith("raised:"))
        _warn(name, next(told, type(error).__name__))
        return None
    return faster


def _warn(name: str, reason: str) -> None:
    warnings.warn(
        f"{name} is not compiled on this machine and runs slower ({reason}); the rows are as good, but their last bits "
        f"are not those of a machine that compiles, and logs say so",
        NotCompiled,
        stacklevel=3,
    )
