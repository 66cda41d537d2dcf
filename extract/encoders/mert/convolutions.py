"""MERT's convolutions as matrix products: the seven of the front end, and the wide positional one.

The same arithmetic as transformers' modules in another order; tests compare every state with transformers' and with the
authors' numbers.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from keybed.extract.encoders.mert.spec import n_frames

GPU_CONVOLUTION_ROWS = 16
GPU_INNER_MULTIPLE = 8
"""bfloat16 products are fastest with inner dimensions that are multiples of 8; zeros change nothing."""
CPU_POSITION_BLOCK, GPU_POSITION_BLOCK = 8, 16
"""Frames per row of the positional product. Each further frame costs 1 / 128 more arithmetic and a wider weight: of 95M's
float32 weight, a block of 8 makes 159 MB, a block of 16 makes 337 MB."""
SHORT = 256
"""Rows of each part that a long, narrow product is cut into on a GPU."""


class Convolutions(nn.Module):
    """The seven convolutions: waveforms (B, samples) float32 to (B, T, 512), a few clips at a time.

    The clips of a part form one long (time, channel) matrix. Each clip is padded to a length that every stride divides,
    so that all taps of a layer are views of the matrix. Rows computed from the padding at a clip's end include samples of
    the next clip; no row that is kept reads them.
    """

    def __init__(self, extractor: Any, architecture: dict[str, Any]) -> None:
        super().__init__()
        self.stride, self.kernel = architecture["conv_stride"], architecture["conv_kernel"]
        self.architecture = architecture
        first = extractor.conv_layers[0]
        # These three stay float32 until they are folded into one weight per clip.
        self.first = {
            "weight": first.conv.weight[:, 0],
            "scale": first.layer_norm.weight,
            "shift": first.layer_norm.bias,
        }
        self.first_eps = first.layer_norm.eps
        self.heads, self.tails = nn.ParameterList(), nn.ParameterList()
        for layer, stride in zip(list(extractor.conv_layers)[1:], self.stride[1:], strict=True):
            weight_OxKxC = layer.conv.weight.transpose(1, 2)
            self.heads.append(nn.Parameter(weight_OxKxC[:, :stride].flatten(1).clone(), requires_grad=False))
            self.tails.append(nn.Parameter(weight_OxKxC[:, stride:].flatten(1).clone(), requires_grad=False))

    def forward(self, waveforms_BxS: Tensor) -> Tensor:
        """Waveforms (B, samples) to features (B, T, 512); see the class."""
        rows = 1 if waveforms_BxS.device.type == "cpu" else GPU_CONVOLUTION_ROWS
        return torch.cat([self._stack(part) for part in waveforms_BxS.split(rows)])

    def _stack(self, waveforms_BxS: Tensor) -> Tensor:
        n_clips, n_samples = waveforms_BxS.shape
        taps_BxTxK, weight_BxKxO = self.first_layer(waveforms_BxS)
        state_NxC = torch.ops.aten.gelu_((taps_BxTxK @ weight_BxKxO).flatten(0, 1))
        for head, tail, stride in zip(self.heads, self.tails, self.stride[1:], strict=True):
            state_NxC = torch.ops.aten.gelu_(strided_convolution(state_NxC, head, tail, stride))
        return state_NxC.view(n_clips, -1, state_NxC.shape[1])[:, : n_frames(self.architecture, n_samples)]

    def first_layer(self, waveforms_BxS: Tensor) -> tuple[Tensor, Tensor]:
        """Convolution and group norm (one group per channel, over the whole clip) as one product per clip.

        Returns its factors, (B, rows, K) and (B, K, 512).
        """
        layer = self.folded_first_layer(waveforms_BxS)
        n_taps = self.kernel[0]
        centred_BxTxK = layer.padded_BxS.unfold(1, n_taps, self.stride[0])[:, : layer.n_rows] - layer.mean_Bx1xK
        # The shift is one more tap, on a constant 1.
        taps_BxTxK = torch.cat([centred_BxTxK, torch.ones_like(centred_BxTxK[:, :, :1])], dim=2)
        dtype = self.heads[0].dtype
        if dtype != torch.float32:
            coarse, fine = in_two(taps_BxTxK, dtype)
            taps_BxTxK = torch.cat([coarse, fine, coarse], dim=2)
        taps_BxKxO = layer.weight(dtype, GPU_INNER_MULTIPLE)
        return F.pad(taps_BxTxK, (0, taps_BxKxO.shape[1] - taps_BxTxK.shape[2])), taps_BxKxO

    def folded_first_layer(self, waveforms_BxS: Tensor) -> FirstLayer:
        """What the first layer's product needs: the padded waveforms, the mean of each tap, and the weight of each clip."""
        # Moved once: a copy from the host at every call would wait for the device.
        self.first = {name: tensor.to(waveforms_BxS.device) for name, tensor in self.first.items()}
        n_clips, n_samples = waveforms_BxS.shape
        kernel, stride = self.kernel[0], self.stride[0]
        divisor = math.prod(self.stride[1:])
        n_valid = (n_samples - kernel) // stride + 1
        n_rows = -(-n_valid // divisor) * divisor
        padded = F.pad(waveforms_BxS, (0, max((n_rows - 1) * stride + kernel - n_samples, 0)))
        valid_BxTxK = padded.unfold(1, kernel, stride)[:, :n_valid]
        mean_Bx1xK = valid_BxTxK.mean(1, keepdim=True)
        covariance_BxKxK = outer_sum(valid_BxTxK - mean_Bx1xK, in_parts=padded.is_cuda) / n_valid
        weight_OxK = self.first["weight"].to(padded)
        variance_BxO = ((weight_OxK @ covariance_BxKxK) * weight_OxK).sum(2)
        scale_BxO = self.first["scale"].to(padded) * torch.rsqrt(variance_BxO.clamp_min(0) + self.first_eps)
        folded_BxKxO = (weight_OxK * scale_BxO[:, :, None]).transpose(1, 2)
        shift_Bx1xO = self.first["shift"].to(padded).expand(n_clips, 1, -1)
        return FirstLayer(padded, mean_Bx1xK, n_rows, torch.cat([folded_BxKxO, shift_Bx1xO], dim=1))


class FirstLayer(NamedTuple):
    """The first convolution with its norm, as a product per clip. All float32.

    padded_BxS: waveforms, with zeros after them for n_rows rows of taps. mean_Bx1xK: of each tap. weight_BxKxO: of the taps, with
    the shift as one more row.
    """

    padded_BxS: Tensor
    mean_Bx1xK: Tensor
    n_rows: int
    weight_BxKxO: Tensor

    def weight(self, dtype: torch.dtype, multiple: int) -> Tensor:
        """The weight (B, K, O) in a dtype. In bfloat16 K is three times as long, for the taps' coarse, fine and coarse parts.

        multiple: on a GPU the inner length is filled up with zeros to a multiple.
        """
        weight_BxKxO = self.weight_BxKxO
        if dtype != torch.float32:
            coarse, fine = in_two(weight_BxKxO, dtype)
            weight_BxKxO = torch.cat([coarse, coarse, fine], dim=1)
        missing = -weight_BxKxO.shape[1] % multiple if weight_BxKxO.is_cuda else 0
        return F.pad(weight_BxKxO, (0, 0, 0, missing))


def in_two(values: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Two numbers of a narrow dtype for each value; their sum is closer to it. An error in the first layer reaches all later ones."""
    coarse = values.to(dtype)
    return coarse, (values - coarse).to(dtype)


def strided_convolution(state_NxC: Tensor, head: Tensor, tail: Tensor, stride: int) -> Tensor:
    """1-d convolution of a long (N, C) state, N a multiple of the stride, to (N / stride, O).

    head: (O, stride · C), the taps within `stride` rows. tail: (O, (kernel − stride) · C), the taps beyond them.
    The last output row lacks its tail.
    """
    n_channels = state_NxC.shape[1]
    out = F.linear(state_NxC.view(-1, stride * n_channels), head)
    for tap in range(tail.shape[1] // n_channels):
        weight_CxO = tail[:, tap * n_channels : (tap + 1) * n_channels].T
        out[:-1].addmm_(state_NxC[stride + tap :: stride], weight_CxO)
    return out


def outer_sum(rows_BxTxK: Tensor, *, in_parts: bool) -> Tensor:
    """Sum over T of each row's product with itself, (B, K, K).

    in_parts: compute many short products and add them. One product of 48,000 rows by 10 leaves most of a GPU idle.
    """
    if not in_parts:
        return rows_BxTxK.transpose(1, 2) @ rows_BxTxK
    whole = rows_BxTxK.shape[1] // SHORT * SHORT
    parts_BxPxSxK, rest_BxRxK = rows_BxTxK[:, :whole].unflatten(1, (-1, SHORT)), rows_BxTxK[:, whole:]
    return (parts_BxPxSxK.transpose(2, 3) @ parts_BxPxSxK).sum(1) + rest_BxRxK.transpose(1, 2) @ rest_BxRxK


class BlockedPosition(nn.Module):
    """Hubert's positional convolution (128 taps in 16 groups, padded to the same length, then GELU) as one product per group.

    A row of the product holds the input of a block of frames, (block + taps − 1) · channels. The weight holds the taps
    once per frame of the block, shifted, and zeros elsewhere: a little more arithmetic, in wide matrices.

    Never computed as a grouped bfloat16 convolution: oneDNN's for AMX (torch 2.13) is wrong with 4 or 8 channels per group.
    """

    def __init__(self, embedding: Any, block: int) -> None:
        super().__init__()
        self.block = block
        weight_OxCxK, self.bias = embedding.conv.weight, embedding.conv.bias
        self.n_groups, (_, n_channels, self.n_taps) = embedding.conv.groups, weight_OxCxK.shape
        self.padding = embedding.conv.padding[0]
        taps_GxKxCxO = weight_OxCxK.unflatten(0, (self.n_groups, -1)).permute(0, 3, 2, 1)
        seen = block + self.n_taps - 1
        weight = torch.zeros(self.n_groups, seen, n_channels, block, taps_GxKxCxO.shape[3])
        for frame in range(block):
            weight[:, frame : frame + self.n_taps, :, frame] = taps_GxKxCxO
        self.weight = nn.Parameter(weight.flatten(3).flatten(1, 2), requires_grad=False)

    def forward(self, state_BxTxD: Tensor) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        n_clips, n_steps, width = state_BxTxD.shape
        n_blocks, seen = -(-n_steps // self.block), self.block + self.n_taps - 1
        after = (n_blocks - 1) * self.block + seen - self.padding - n_steps
        padded = F.pad(state_BxTxD, (0, 0, self.padding, after))
        # Copied 8 bytes at a time: a GPU takes as long for each number, whatever its size.
        wide = torch.int64 if width // self.n_groups * padded.element_size() % 8 == 0 else padded.dtype
        seen_BxUxGxCxJ = padded.view(wide).unfold(1, seen, self.block).unflatten(2, (self.n_groups, -1))
        rows_GxNxI = seen_BxUxGxCxJ.permute(2, 0, 1, 4, 3).reshape(self.n_groups, n_clips * n_blocks, -1)
        rows_GxNxI = rows_GxNxI.view(padded.dtype)
        out = (rows_GxNxI @ self.weight).view(self.n_groups, n_clips, n_blocks * self.block, -1)
        return F.gelu(out.permute(1, 2, 0, 3).reshape(n_clips, -1, width)[:, :n_steps] + self.bias)
