"""What the ridge probe reads: blocks of (row, statistic, width) made of layers and frames."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from keybed.heads.inputs import HeadInput


def layer_blocks(path: str, layers: NDArray) -> dict[str, NDArray]:
    """One block a state: `path[state]` -> (row, stat, width), from layers (row, stat, state, width)."""
    return {f"{path}[{state}]": layers[:, :, state] for state in range(layers.shape[2])}


def frame_block(path: str, frames: NDArray, mask: NDArray | None = None) -> dict[str, NDArray]:
    """frames (row, bin, …) as one block (row, 2, width): mean and sd over the valid bins; 0 where a row has none."""
    x = frames.reshape(*frames.shape[:2], -1).astype(np.float32)
    valid = np.ones(x.shape[:2], bool) if mask is None else mask
    count = np.maximum(valid.sum(axis=1), 1)[:, None]
    mean = np.where(valid[:, :, None], x, 0).sum(axis=1) / count
    sd = np.sqrt((np.where(valid[:, :, None], x - mean[:, None], 0) ** 2).sum(axis=1) / count)
    return {path: np.stack([mean, sd], axis=1)}


def both_frames(batch: HeadInput) -> dict[str, NDArray]:
    """A batch's frames of both modalities side by side as one block, "both" -> (row, 2, width)."""
    blocks = frame_block("audio", batch.audio_BxTxC, batch.audio_mask_BxT)
    blocks |= frame_block("midi", batch.midi_BxTxC, batch.midi_mask_BxT)
    return {"both": np.concatenate(list(blocks.values()), axis=-1)}
