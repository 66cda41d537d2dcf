"""A batch's work on a GPU recorded once as a CUDA graph and replayed: one launch in place of hundreds."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Run = Callable[[Tensor], tuple[Tensor, ...]]


class Recorded:
    """`run`, recorded for one input shape. The kernels, and so the bytes, are those of the function itself.

    A call returns the same tensors each time; the next call overwrites them. Copies that are queued on the current stream
    before the next call read the right values.
    """

    def __init__(self, run: Run, example: Tensor) -> None:
        self._input = example.clone()
        warm_up = torch.cuda.Stream(example.device)
        warm_up.wait_stream(torch.cuda.current_stream(example.device))
        with torch.cuda.stream(warm_up):
            run(self._input)
        torch.cuda.current_stream(example.device).wait_stream(warm_up)
        self._graph = torch.cuda.CUDAGraph()
        # Other encoders may work on the device in other threads meanwhile.
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._outputs = run(self._input)

    def __call__(self, batch: Tensor) -> tuple[Tensor, ...]:
        """Replay on a batch of the recorded shape."""
        self._input.copy_(batch)
        self._graph.replay()
        return self._outputs
