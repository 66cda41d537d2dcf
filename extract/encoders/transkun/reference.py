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
from keybed.extract.encoders.transkun.layers import Half
from keybed.extract.encoders.transkun.model import Network, TokenPooling, at_model_rate, load_transkun
from keybed.extract.encoders.transkun.spectrogram import LogMel
from keybed.store.format.recipe import EncoderSpec

_CHANNELS, _OUTPUTS, _SEQUENCES = 8, 32, 8
"""Input and output channels of a convolution, and sequences of an attention, that are computed at once."""


def reference(spec: EncoderSpec, file: Path | None, clip: Clip) -> Pooled:
    """Features of one clip. Takes about 0.5 GB while it runs."""
    network = load_transkun(spec, file, torch.float64)
    waveform = at_model_rate(spec, checked_waveform(spec, clip, 0)).astype(np.float64)
    pool_tokens = TokenPooling(spec.preprocessing["architecture"], clip.window_s)
    with torch.inference_mode(), computed_in_parts(network):
        states = [pool_tokens(state)[0].numpy() for state in network.states(torch.from_numpy(waveform)[None])]
    return pooling.pool_row(spec, states, pooling.bins_of(pool_tokens.centres_s, spec.n_bins, clip.window_s))


@contextmanager
def computed_in_parts(network: Network) -> Iterator[None]:
    """Within the block the spectrogram is computed window by window, convolutions by channel, and attention by sequence."""
    for module in network.modules():
        if isinstance(module, LogMel):
            module.forward = partial(_by_window, module)  # type: ignore[method-assign]
        elif isinstance(module, nn.Conv2d):
            module.forward = partial(_by_channel, module)  # type: ignore[method-assign]
        elif isinstance(module, Half):
            module.forward = partial(_by_sequence, module.forward)  # type: ignore[method-assign]
    try:
        yield
    finally:
        # A module that refers to itself would stay in memory until the garbage collector comes.
        for module in network.modules():
            vars(module).pop("forward", None)


def _by_window(spectrogram: LogMel, waveforms_BxS: Tensor) -> Tensor:
    return torch.cat([spectrogram.through(window[None], waveforms_BxS) for window in spectrogram.windows()], dim=1)


def _by_channel(conv: nn.Conv2d, x_BxCxTxM: Tensor) -> Tensor:
    assert conv.bias is not None
    parts = []
    for weight, bias in zip(conv.weight.split(_OUTPUTS), conv.bias.split(_OUTPUTS), strict=True):
        part = bias[:, None, None]
        for x, w in zip(x_BxCxTxM.split(_CHANNELS, 1), weight.split(_CHANNELS, 1), strict=True):
            part = part + F.conv2d(x, w, None, conv.stride, conv.padding)
        parts.append(part)
    return torch.cat(parts, 1)


def _by_sequence(forward: Callable[..., Tensor], *inputs_NxLxD: Tensor) -> Tensor:
    parts = zip(*(x.split(_SEQUENCES) for x in inputs_NxLxD), strict=True)
    return torch.cat([forward(*part) for part in parts])
