"""Copy batches to the device and results back. On a GPU the copies use pinned memory and overlap with computation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Transfer:
    """Two host buffers, each of one batch's shape, used in turn.

    Fill and send batch n + 1, then fetch batch n: in this order a buffer is not overwritten before its copy is done.
    """

    def __init__(self, device: torch.device, shape: tuple[int, ...]) -> None:
        self._device, self.shape = device, shape
        self._copying = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._buffers = [torch.zeros(shape, pin_memory=self._copying is not None) for _ in range(2)]

    def next_buffer(self) -> NDArray[np.float32]:
        """The buffer to fill before `send`. It still holds the batch before the last one."""
        self._buffers.reverse()
        buffer: NDArray[np.float32] = self._buffers[0].numpy()
        return buffer

    def send(self) -> Tensor:
        """Copy the filled buffer to the device. The copy overlaps with computation."""
        if self._copying is None:
            return self._buffers[0]
        with torch.cuda.stream(self._copying):
            sent = self._buffers[0].to(self._device, non_blocking=True)
        computing = torch.cuda.current_stream(self._device)
        computing.wait_stream(self._copying)
        sent.record_stream(computing)
        return sent

    def fetch_later(self, results: Sequence[Tensor]) -> Callable[[], list[NDArray[np.float32]]]:
        """Start copying results to the host; return a function that waits for them (and for no later batch)."""
        on_host = [result.to("cpu", non_blocking=True) for result in results]
        done = None if self._copying is None else torch.cuda.current_stream(self._device).record_event()

        def fetch() -> list[NDArray[np.float32]]:
            if done is not None:
                done.synchronize()
            return [result.numpy() for result in on_host]

        return fetch
