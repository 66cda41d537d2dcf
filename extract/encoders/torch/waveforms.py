"""Batches of waveforms for the audio networks, and the pooling of their hidden states over time and bins."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from keybed.extract.encoders import pooling
from keybed.extract.encoders.audio_check import checked_waveform
from keybed.extract.encoders.base import Clip, Pooled
from keybed.extract.encoders.errors import EncoderError
from keybed.extract.encoders.torch.device import pool_bins
from keybed.extract.encoders.torch.transfer import Transfer, fetch_later, narrow_dtype, narrowed
from keybed.store.format.recipe import EncoderSpec


def moments(state_BxTxD: Tensor) -> Tensor:
    """Mean and population sd over time in float32, (B, 2, D)."""
    state_BxTxD = state_BxTxD.float()
    mean_Bx1xD = state_BxTxD.mean(1, keepdim=True)
    sd_Bx1xD = (state_BxTxD - mean_Bx1xD).square_().mean(1, keepdim=True).sqrt_()
    return torch.cat([mean_Bx1xD, sd_Bx1xD], dim=1)


def add(sum_BxTxD: Tensor, state_BxTxD: Tensor) -> Tensor:
    """Add one more state to a float32 sum."""
    return sum_BxTxD + state_BxTxD.float()


def pool_states(
    states: Iterable[Tensor],
    frame_states: Sequence[int],
    averaging_NxT: Tensor,
    *,
    moments: Callable[[Tensor], Tensor] = moments,
    add: Callable[[Tensor, Tensor], Tensor] = add,
) -> tuple[Tensor, Tensor]:
    """Layers (B, 2, state, D) and frames (B, n_bins, 2, D), float32, of hidden states (B, T, D).

    Each state is pooled at once and then dropped. frame_states: the states whose mean gives the frames. moments, add: the
    functions above, or compiled ones.
    """
    layer_stats: list[Tensor] = []
    chosen: Tensor | None = None
    for index, state_BxTxD in enumerate(states):
        layer_stats.append(moments(state_BxTxD))
        if index in frame_states:
            chosen = state_BxTxD.float() if chosen is None else add(chosen, state_BxTxD)
    assert chosen is not None
    return torch.stack(layer_stats, dim=2), pool_bins(chosen / len(frame_states), averaging_NxT)


def averaging_over_bins(spec: EncoderSpec, centres_s: NDArray[np.float64]) -> Tensor:
    """The matrix (n_bins, T) that averages the frames of each bin.

    centres_s: time of each frame's centre. Raises EncoderError where a bin has no frame.
    """
    window_s = spec.preprocessing["window_s"]
    bins = pooling.bins_of(centres_s, spec.n_bins, window_s)
    if len(np.unique(bins[bins >= 0])) < spec.n_bins:
        raise EncoderError(
            f"{spec.name}: {spec.n_bins} bins of a {window_s} s window are more than its {len(bins)} frames fill"
        )
    return torch.from_numpy(pooling.averaging_matrix(bins, spec.n_bins))


def pool_waveforms(
    spec: EncoderSpec,
    clips: Sequence[Clip | None],
    transfer: Transfer,
    pool_batch: Callable[[Tensor], tuple[Tensor, Tensor]],
    prepare: Callable[[NDArray[np.float32]], NDArray[np.float32]] | None = None,
) -> Pooled:
    """Run all clips of a shard through `pool_batch`, in row order, in batches of the transfer's shape.

    pool_batch: waveforms (B, samples) to layers and frames. prepare: applied to each waveform before. Failed rows and the
    rest of the last batch are blank clips. Raises EncoderError for a clip of another length than the recipe's window.
    """
    n_rows, batch_rows = len(clips), transfer.shape[0]
    layers, frames, mask = pooling.zeros(spec, n_rows, narrow_dtype(transfer.device))
    mask[:] = True
    failed = np.zeros(n_rows, np.bool_)

    def keep(start: int, fetch: Callable[[], list[NDArray]]) -> None:
        rows = slice(start, min(start + batch_rows, n_rows))
        layers[rows], frames[rows], sizes = (pooled[: rows.stop - start] for pooled in fetch())
        # Here and not for the whole shard at its end, where a GPU would wait.
        pooling.check_sizes(spec.name, sizes, failed[rows], start)

    before: tuple[int, Callable[[], list[NDArray]]] | None = None
    for start in range(0, n_rows, batch_rows):
        buffer_BxS = transfer.next_buffer()
        buffer_BxS[n_rows - start :] = 0
        for index, clip in enumerate(clips[start : start + batch_rows]):
            if clip is None:
                failed[start + index] = True
                buffer_BxS[index] = 0
            else:
                waveform = checked_waveform(spec, clip, start + index)
                buffer_BxS[index] = waveform if prepare is None else prepare(waveform)
        pooled = narrowed(*pool_batch(transfer.send()))
        # The call above only queues the batch on a GPU; the results of the previous batch are fetched meanwhile.
        if before is not None:
            keep(*before)
        before = start, fetch_later(pooled)
    if before is not None:
        keep(*before)
    return pooling.blank_failed(layers, frames, mask, failed)
