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
        self.device, self.shape = device, shape
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
            sent = self._buffers[0].to(self.device, non_blocking=True)
        computing = torch.cuda.current_stream(self.device)
        computing.wait_stream(self._copying)
        sent.record_stream(computing)
        return sent


def to_device(values: NDArray, device: torch.device) -> Tensor:
    """An array on the device. On a GPU the copy is queued from pinned memory, so that the host waits for no earlier batch."""
    tensor = torch.from_numpy(values)
    return tensor if device.type == "cpu" else tensor.pin_memory().to(device, non_blocking=True)


def narrowed(layers: Tensor, frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A batch's features as they leave the device, and the largest absolute value of each row's layers and frames, (B, 2).

    On a GPU they become float16, as the store keeps them: half the bytes are copied, and the host converts nothing. On a CPU
    they stay float32. The sizes are of the float32 values.
    """
    sizes = torch.stack([values.abs().flatten(1).amax(1) for values in (layers, frames)], dim=1)
    if layers.device.type == "cuda":
        layers, frames = layers.half(), frames.half()
    return layers, frames, sizes


def narrow_dtype(device: torch.device) -> type[np.floating]:
    """The dtype that `narrowed` gives on this device."""
    return np.float16 if device.type == "cuda" else np.float32


def fetch_later(results: Sequence[Tensor]) -> Callable[[], list[NDArray]]:
    """Start copying results to the host; return a function that waits for them (and for no later batch)."""
    device = results[0].device
    # torch copies into pinned memory here, so that the copy overlaps with the next batch.
    on_host = [result.to("cpu", non_blocking=True) for result in results]
    done = None if device.type == "cpu" else torch.cuda.current_stream(device).record_event()

    def fetch() -> list[NDArray]:
        if done is not None:
            done.synchronize()
        return [result.numpy() for result in on_host]

    return fetch
