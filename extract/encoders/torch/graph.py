"""A batch's work on a GPU recorded once as a CUDA graph and replayed: one launch in place of hundreds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Run = Callable[..., tuple[Tensor, ...]]


class Recorded:
    """`run`, recorded for inputs of the examples' shapes. The kernels, and so the bytes, are those of the function itself.

    A call returns the same tensors each time; the next call overwrites them. Copies that are queued on the current stream
    before the next call read the right values. pool: of memory that several recordings use, of which one runs at a time.
    """

    def __init__(self, run: Run, *examples: Tensor, pool: Any = None) -> None:
        device = examples[0].device
        self._inputs = [example.clone() for example in examples]
        warm_up = torch.cuda.Stream(device)
        warm_up.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(warm_up):
            run(*self._inputs)
        torch.cuda.current_stream(device).wait_stream(warm_up)
        self._graph = torch.cuda.CUDAGraph()
        # Other encoders may work on the device in other threads meanwhile.
        with torch.cuda.graph(self._graph, pool=pool, capture_error_mode="thread_local"):
            self._outputs = run(*self._inputs)

    def __call__(self, *batch: Tensor) -> tuple[Tensor, ...]:
        """Replay on a batch of the recorded shapes."""
        for recorded, given in zip(self._inputs, batch, strict=True):
            recorded.copy_(given)
        self._graph.replay()
        return self._outputs


class RecordedByShape:
    """`run` for batches of few shapes: recorded when a shape comes first, and replayed from then on; not on a CPU."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._recorded: dict[tuple[torch.Size, ...], Recorded] = {}
        self._pool: Any = None

    def __call__(self, *batch: Tensor) -> tuple[Tensor, ...]:
        """See the class."""
        if batch[0].device.type != "cuda":
            return self._run(*batch)
        shapes = tuple(tensor.shape for tensor in batch)
        if shapes not in self._recorded:
            self._pool = self._pool or torch.cuda.graph_pool_handle()
            self._recorded[shapes] = Recorded(self._run, *batch, pool=self._pool)
        return self._recorded[shapes](*batch)
