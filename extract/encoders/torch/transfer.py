"""Batches to the device and pooled rows back; on a GPU while it computes, from pinned memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Transfer:
    """Two host buffers of one batch's shape that take turns.

    The order that keeps a buffer until its copy is done: fill and send batch n + 1, then fetch batch n, and so on.
    """

    def __init__(self, device: torch.device, shape: tuple[int, ...]) -> None:
        self._device = device
        self._copying = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._buffers = [torch.zeros(shape, pin_memory=self._copying is not None) for _ in range(2)]

    def next_buffer(self) -> NDArray[np.float32]:
        """The buffer to fill before `send`; it holds what it held two batches ago."""
        self._buffers.reverse()
        buffer: NDArray[np.float32] = self._buffers[0].numpy()
        return buffer

    def send(self) -> Tensor:
        """The filled buffer on the device. The copy runs beside what the device computes."""
        if self._copying is None:
            return self._buffers[0]
        with torch.cuda.stream(self._copying):
            sent = self._buffers[0].to(self._device, non_blocking=True)
        computing = torch.cuda.current_stream(self._device)
        computing.wait_stream(self._copying)
        sent.record_stream(computing)
        return sent

    def fetch_later(self, results: Sequence[Tensor]) -> Callable[[], list[NDArray[np.float32]]]:
        """Asks for the results now; the call that is returned waits for them, and for nothing that is sent later."""
        here = [result.to("cpu", non_blocking=True) for result in results]
        done = None if self._copying is None else torch.cuda.current_stream(self._device).record_event()

        def fetch() -> list[NDArray[np.float32]]:
            if done is not None:
                done.synchronize()
            return [result.numpy() for result in here]

        return fetch
