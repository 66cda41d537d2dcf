"""Layers of Transkun: learnt Fourier positions, convolutions, and attention over frequency and over time in turn.

Call `fold` after loading and before `forward`: constants are computed once, and scales go into the weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from keybed.extract.encoders.transkun.spec import PITCHES, n_groups, n_spectrum_tokens, width

NORM_EPS = 1e-6
N_NORM_GROUPS = 4

gelu_ = torch.ops.aten.gelu_
"""F.gelu in place: the largest arrays are not in memory twice."""


class Positions(nn.Module):
    """Coordinates (…, n) to embeddings (…, width): cosines of a linear map, then linear, GELU, linear."""

    def __init__(self, n_coordinates: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Linear(n_coordinates, width)
        self.inner, self.outer = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, *axes: Tensor) -> Tensor:
        """Embeddings of every combination of the axes' values, (len of each axis …, width)."""
        coordinates = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).to(self.proj.weight)
        phase = self.proj(coordinates)
        return self.outer(gelu_(self.inner(torch.cos(phase) / math.sqrt(phase.shape[-1] / 2))))


class Convolutions(nn.Module):
    """Spectrograms (B, windows, T, mels) to tokens (B, groups, spectrum tokens, width): 8 frames and 4 bands become one."""

    bands_CxM: Tensor
    """Embedding of each band, added after the first convolution."""

    def __init__(self, architecture: dict[str, Any]) -> None:
        super().__init__()
        base, wide = architecture["base_width"], width(architecture)
        self.first = nn.Conv2d(architecture["n_extra_windows"] + 1, base, 3, padding=1)
        sizes, strides = (base, 2 * base, wide, wide, wide), ((2, 1), (2, 2), (2, 2), (1, 1))
        self.conv = nn.ModuleList(
            nn.Conv2d(n_in, n_out, 3, stride, padding=1)
            for n_in, n_out, stride in zip(sizes[:-1], sizes[1:], strides, strict=True)
        )
        self.norm = nn.ModuleList(nn.GroupNorm(N_NORM_GROUPS, n_out) for n_out in sizes[1:])

    def forward(self, spectrogram_BxWxTxM: Tensor) -> Tensor:
        """See the class."""
        x = self.first(spectrogram_BxWxTxM).add_(self.bands_CxM[:, None])
        x = F.pad(x, (2, 1, 4, 3))
        for stage, (conv, norm) in enumerate(zip(self.conv, self.norm, strict=True)):
            x = conv(x)
            x = norm(x)
            if stage < len(self.conv) - 1:
                x = gelu_(x)
        return x.permute(0, 2, 3, 1)


class Half(nn.Module):
    """Attention and feed-forward over one axis, each of the normed input, scaled by channel and added to it."""

    def __init__(self, architecture: dict[str, Any]) -> None:
        super().__init__()
        wide = width(architecture)
        self.n_heads = architecture["n_heads"]
        self.q, self.k, self.v = (nn.Parameter(torch.empty(wide, wide)) for _ in range(3))
        self.out = nn.Linear(wide, wide)
        self.inner = nn.Linear(wide, architecture["inner_factor"] * wide)
        self.outer = nn.Linear(architecture["inner_factor"] * wide, wide)
        self.attention_scale, self.feed_forward_scale = (nn.Parameter(torch.empty(wide)) for _ in range(2))

    def fold(self) -> None:
        """Multiply the scales into the linear layers before them."""
        for linear, scale in ((self.out, self.attention_scale), (self.outer, self.feed_forward_scale)):
            linear.weight.mul_(scale[:, None])
            linear.bias.mul_(scale)
        del self.attention_scale, self.feed_forward_scale

    def attend(self, x_NxLxD: Tensor, keys_NxLxD: Tensor, values_NxLxD: Tensor) -> Tensor:
        """(N, L, D) to (N, L, D), attention along L. keys, values: projected from the layer's input as it is, not normed."""
        query = F.rms_norm(x_NxLxD, x_NxLxD.shape[-1:], eps=NORM_EPS) @ self.q
        heads = [part.unflatten(2, (self.n_heads, -1)).transpose(1, 2) for part in (query, keys_NxLxD, values_NxLxD)]
        fetched_NxLxD = F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)
        return self.out(fetched_NxLxD).add_(x_NxLxD)

    def feed_forward(self, x_NxLxD: Tensor) -> Tensor:
        """(N, L, D) to (N, L, D)."""
        normed = F.rms_norm(x_NxLxD, x_NxLxD.shape[-1:], eps=NORM_EPS)
        return self.outer(gelu_(self.inner(normed))).add_(x_NxLxD)


class Layer(nn.Module):
    """Half a layer over the tokens of each moment, then half a layer over the moments of each token."""

    to_keys_values: Tensor
    """The four projections of the layer's input (keys and values of either half) as one matrix, (D, 4 D)."""

    def __init__(self, architecture: dict[str, Any]) -> None:
        super().__init__()
        self.over_frequency, self.over_time = Half(architecture), Half(architecture)

    def fold(self) -> None:
        """See the module's description."""
        halves = (self.over_frequency, self.over_time)
        projections = torch.cat([part for half in halves for part in (half.k, half.v)], dim=1)
        self.register_buffer("to_keys_values", projections)
        for half in halves:
            half.fold()
            del half.k, half.v

    def forward(self, state_BxTxFxD: Tensor) -> Tensor:
        """(B, T, F, D) to (B, T, F, D)."""
        n_clips = len(state_BxTxFxD)
        keys_NxFxD, values_NxFxD, keys_NxTxD, values_NxTxD = self._keys_values(state_BxTxFxD)
        x_NxFxD = self.over_frequency.attend(state_BxTxFxD.flatten(0, 1), keys_NxFxD, values_NxFxD)
        del keys_NxFxD, values_NxFxD
        x_NxFxD = self.over_frequency.feed_forward(x_NxFxD)
        x_BxFxTxD = x_NxFxD.unflatten(0, (n_clips, -1)).transpose(1, 2).contiguous()
        del x_NxFxD
        x_NxTxD = self.over_time.attend(x_BxFxTxD.flatten(0, 1), keys_NxTxD, values_NxTxD)
        del keys_NxTxD, values_NxTxD, x_BxFxTxD
        return self.over_time.feed_forward(x_NxTxD).unflatten(0, (n_clips, -1)).transpose(1, 2)

    def _keys_values(self, state_BxTxFxD: Tensor) -> list[Tensor]:
        """Keys and values of either half, each in its own memory, which is free as soon as the half has attended."""
        parts_BxTxFxD = (state_BxTxFxD @ self.to_keys_values).chunk(4, dim=-1)
        over_frequency = [part.flatten(0, 1).contiguous() for part in parts_BxTxFxD[:2]]
        return over_frequency + [part.transpose(1, 2).flatten(0, 1).contiguous() for part in parts_BxTxFxD[2:]]


class Backbone(nn.Module):
    """Spectrograms (B, windows, T, mels) in; states (B, 1 + groups, tokens, width) out, one after the other.

    The first moment and the first token are aggregates, which begin as their positions. Tokens: aggregate, spectrum, PITCHES.
    """

    spectrum_TxFxD: Tensor
    pitches_TxPxD: Tensor

    def __init__(self, architecture: dict[str, Any]) -> None:
        super().__init__()
        self.architecture, wide = architecture, width(architecture)
        self.convolutions = Convolutions(architecture)
        self.band_positions = Positions(1, architecture["base_width"])
        self.spectrum_positions, self.pitch_positions = Positions(2, wide), Positions(2, wide)
        self.layers = nn.ModuleList(Layer(architecture) for _ in range(architecture["n_layers"]))

    def fold(self) -> None:
        """See the module's description."""
        moments = torch.arange(1 + n_groups(self.architecture))
        tokens = torch.arange(1 + n_spectrum_tokens(self.architecture))
        self.register_buffer("spectrum_TxFxD", self.spectrum_positions(moments, tokens))
        self.register_buffer("pitches_TxPxD", self.pitch_positions(moments, torch.tensor(PITCHES)))
        self.convolutions.register_buffer(
            "bands_CxM", self.band_positions(torch.arange(self.architecture["n_mels"])).T.contiguous()
        )
        del self.band_positions, self.spectrum_positions, self.pitch_positions
        for layer in self.layers:
            layer.fold()  # type: ignore[operator]

    def forward(self, spectrogram_BxWxTxM: Tensor) -> Iterator[Tensor]:
        """See the class."""
        tokens_BxTxFxD = F.pad(self.convolutions(spectrogram_BxWxTxM), (0, 0, 1, 0, 1, 0)) + self.spectrum_TxFxD
        pitches_BxTxPxD = self.pitches_TxPxD.expand(len(tokens_BxTxFxD), -1, -1, -1)
        state_BxTxFxD = torch.cat([tokens_BxTxFxD, pitches_BxTxPxD], dim=2)
        for layer in self.layers:
            yield state_BxTxFxD
            state_BxTxFxD = layer(state_BxTxFxD)
        yield state_BxTxFxD
