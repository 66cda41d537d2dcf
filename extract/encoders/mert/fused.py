"""MERT's convolutions, and the first half of each layer's feed-forward part, with kernels that include their GELU.

On a GPU the convolutional front end as separate products is bound by memory traffic: it took 0.27 of 0.74 ms per row of
MERT-95M on an H100. The kernels are in `torch/linear_gelu.py` and `torch/split_taps.py`, which need Triton.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from keybed.extract.encoders.mert.convolutions import Convolutions
from keybed.extract.encoders.mert.spec import n_frames
from keybed.extract.encoders.torch.linear_gelu import (
    BLOCK_K,
    available,
    fits,
    linear_gelu,
    products_gelu,
    strided_convolution_gelu,
)
from keybed.extract.encoders.torch.split_taps import split_taps

ROWS = 16
"""Clips per part of the front end."""


def can_fuse(architecture: dict[str, Any]) -> bool:
    """Whether this GPU has what the kernels need and every layer fills whole tiles; the tiny test architecture does not."""
    convolutions = all(fits(width, width) for width in architecture["conv_dim"])
    layers = architecture["hidden_act"] == "gelu" and fits(
        architecture["hidden_size"], architecture["intermediate_size"]
    )
    return available() and convolutions and layers


class FusedConvolutions:
    """`Convolutions` in bfloat16: waveforms (B, samples) float32 to (B, T, 512)."""

    def __init__(self, convolutions: Convolutions) -> None:
        self._convolutions = convolutions
        # (O, taps · C), the taps within the stride and then those beyond it, to (taps · C, O).
        pairs = zip(convolutions.heads, convolutions.tails, strict=True)
        self._weights = [torch.cat([head, tail], dim=1).T.contiguous() for head, tail in pairs]

    def __call__(self, waveforms_BxS: Tensor) -> Tensor:
        """See the class."""
        return torch.cat([self._stack(part) for part in waveforms_BxS.split(ROWS)])

    def _stack(self, waveforms_BxS: Tensor) -> Tensor:
        n_clips, n_samples = waveforms_BxS.shape
        layer = self._convolutions.folded_first_layer(waveforms_BxS)
        weight_BxKxO = layer.weight(self._weights[0].dtype, multiple=BLOCK_K)
        taps_BxTxK = split_taps(
            layer.padded_BxS, layer.mean_Bx1xK[:, 0], self._convolutions.stride[0], layer.n_rows, weight_BxKxO.shape[1]
        )
        state_NxC = products_gelu(taps_BxTxK, weight_BxKxO).flatten(0, 1)
        for weight, stride in zip(self._weights, self._convolutions.stride[1:], strict=True):
            state_NxC = strided_convolution_gelu(state_NxC, weight, stride)
        n_steps = n_frames(self._convolutions.architecture, n_samples)
        return state_NxC.view(n_clips, -1, state_NxC.shape[1])[:, :n_steps]


class FusedFeedForward(nn.Module):
    """Hubert's feed-forward part without dropout: linear, GELU, linear."""

    def __init__(self, part: Any) -> None:
        super().__init__()
        self.weight_IxO = nn.Parameter(part.intermediate_dense.weight.T.contiguous(), requires_grad=False)
        self.bias_O, self.output = part.intermediate_dense.bias, part.output_dense

    def forward(self, state_BxTxD: Tensor) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        inner_NxO = linear_gelu(state_BxTxD.flatten(0, 1).contiguous(), self.weight_IxO, self.bias_O)
        return self.output(inner_NxO.unflatten(0, state_BxTxD.shape[:2]))


def fused_layers(layers: nn.ModuleList) -> nn.ModuleList:
    """Copies of transformers' layers that share all parameters, with a fused feed-forward part."""
    copies = []
    for layer in layers:
        other: Any = copy.copy(layer)
        other._modules = {**layer._modules, "feed_forward": FusedFeedForward(layer.feed_forward)}
        copies.append(other)
    return nn.ModuleList(copies)
