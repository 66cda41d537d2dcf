"""Transkun's features in float64 on the CPU: what the model is checked against. The resampled clip is the model's own.

The largest steps are computed in parts, so that the check takes no more memory than the encoder's own work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from keybed.extract.encoders import pooling
from keybed.extract.encoders.audio_check import checked_waveform
from keybed.extract.encoders.base import Clip, Pooled
from keybed.extract.encoders.torch.float64 import compute_in_float64
from keybed.extract.encoders.transkun.layers import Half, Layer
from keybed.extract.encoders.transkun.model import Network, TokenPooling, at_model_rate, load_transkun
from keybed.extract.encoders.transkun.spectrogram import LogMel
from keybed.extract.processes import release_freed_memory
from keybed.store.format.recipe import EncoderSpec

_MOMENTS, _SEQUENCES = 16, 8
"""Moments of a convolution's output, and sequences of an attention, that are computed at once."""


def reference(spec: EncoderSpec, file: Path | None, clip: Clip) -> Pooled:
    """Features of one clip. Takes about 0.3 GB while it runs."""
    network = load_transkun(spec, file, torch.float64)
    # Scales are multiplied into the weights, in float64; now only one layer at a time is in float64.
    network.backbone.layers.float()
    compute_in_float64(network.backbone.layers)
    release_freed_memory()
    waveform = at_model_rate(spec, checked_waveform(spec, clip, 0)).astype(np.float64)
    pool_tokens = TokenPooling(spec.preprocessing["architecture"], clip.window_s)
    with torch.no_grad(), computed_in_parts(network):
        states = [pool_tokens(state)[0].numpy() for state in network.states(torch.from_numpy(waveform)[None])]
    return pooling.pool_row(spec, states, pooling.bins_of(pool_tokens.centres_s, spec.n_bins, clip.window_s))


@contextmanager
def computed_in_parts(network: Network) -> Iterator[None]:
    """Within the block the spectrogram is computed window by window, convolutions over some moments, and layers by sequence."""
    parts: dict[type[nn.Module], Callable[..., Tensor]] = {
        LogMel: _by_window,
        nn.Conv2d: _by_time,
        Layer: _by_sequence,
    }
    for module in network.modules():
        if type(module) in parts:
            module.forward = partial(parts[type(module)], module)  # type: ignore[method-assign]
    try:
        yield
    finally:
        # A module that refers to itself would stay in memory until the garbage collector comes.
        for module in network.modules():
            vars(module).pop("forward", None)


def _by_window(spectrogram: LogMel, waveforms_BxS: Tensor) -> Tensor:
    return torch.cat([spectrogram.through(window[None], waveforms_BxS) for window in spectrogram.windows()], dim=1)


def _by_time(conv: nn.Conv2d, x_BxCxTxM: Tensor) -> Tensor:
    """A convolution of 3 × 3 with padding 1: torch copies each input of a float64 convolution nine times."""
    length, stride = x_BxCxTxM.shape[2], conv.stride[0]
    n_moments = (length - 1) // stride + 1
    made: Tensor | None = None
    for first in range(0, n_moments, _MOMENTS):
        stop = min(first + _MOMENTS, n_moments)
        begins, ends = first * stride - 1, (stop - 1) * stride + 2
        outside = (1, 1, max(-begins, 0), max(ends - length, 0))
        piece = F.pad(x_BxCxTxM[:, :, max(begins, 0) : ends], outside)
        part = F.conv2d(piece, conv.weight, conv.bias, conv.stride)
        if made is None:
            made = part.new_empty((*part.shape[:2], n_moments, part.shape[3]))
        made[:, :, first:stop] = part
    assert made is not None
    return made


def _by_sequence(layer: Layer, state_BxTxFxD: Tensor) -> Tensor:
    keys_values = layer.to_keys_values.chunk(4, dim=1)
    x_BxTxFxD = _half(layer.over_frequency, state_BxTxFxD, state_BxTxFxD, *keys_values[:2])
    x_BxFxTxD, state_BxFxTxD = x_BxTxFxD.transpose(1, 2), state_BxTxFxD.transpose(1, 2)
    return _half(layer.over_time, x_BxFxTxD, state_BxFxTxD, *keys_values[2:]).transpose(1, 2)


def _half(half: Half, x_BxNxLxD: Tensor, state_BxNxLxD: Tensor, to_keys: Tensor, to_values: Tensor) -> Tensor:
    made = torch.empty_like(x_BxNxLxD)
    for clip, (x_NxLxD, state_NxLxD) in enumerate(zip(x_BxNxLxD, state_BxNxLxD, strict=True)):
        for first in range(0, len(x_NxLxD), _SEQUENCES):
            part = slice(first, first + _SEQUENCES)
            keys, values = state_NxLxD[part] @ to_keys, state_NxLxD[part] @ to_values
            made[clip, part] = half.feed_forward(half.attend(x_NxLxD[part], keys, values))
    return made
