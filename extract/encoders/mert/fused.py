"""A GPU kernel in Triton: a strided convolution over a long (time, channel) matrix and its GELU, in one pass over memory.

As separate operations, MERT's convolutional front end is bound by memory: a product writes its result, a second product
(the taps beyond the stride) reads and writes it, GELU reads and writes it once more. The kernel adds up all taps in
float32, applies GELU and writes bfloat16 once. Tile sizes are fixed and not chosen by timing, so bytes repeat.
Imported on GPUs only: Triton comes with torch's CUDA builds.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from keybed.extract.encoders.mert.convolutions import Convolutions
from keybed.extract.encoders.mert.spec import n_frames

ROWS = 16
"""Clips per part."""
TILE: dict[str, int] = {"BLOCK_M": 128, "BLOCK_N": 256, "BLOCK_K": 64, "num_warps": 8, "num_stages": 4}
"""Output rows and channels of one program, inner length of one step, warps, and steps that are loaded ahead."""


@triton.jit  # type: ignore[untyped-decorator]
def _linear_gelu(  # type: ignore[no-untyped-def]
    rows_ptr,
    weight_ptr,
    out_ptr,
    n_out,
    n_readable,
    rows_stride,
    weight_stride,
    ROW: tl.constexpr,
    INNER: tl.constexpr,
    WIDTH: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """One tile of gelu(rows @ weight). Row m holds the INNER numbers from m · ROW; neighbouring rows may overlap."""
    tiles: tl.constexpr = WIDTH // BLOCK_N
    clip = tl.program_id(1).to(tl.int64)
    tile_m, tile_n = tl.program_id(0) // tiles, tl.program_id(0) % tiles
    row = tile_m * BLOCK_M + tl.arange(0, BLOCK_M)
    column = tile_n * BLOCK_N + tl.arange(0, BLOCK_N)
    inner = tl.arange(0, BLOCK_K)
    # Rows beyond the end repeat the last one that can be read; a mask on loads would make them narrow.
    readable = tl.minimum(row, n_readable - 1).to(tl.int64)
    a_ptr = rows_ptr + clip * rows_stride + readable[:, None] * ROW + inner[None, :]
    b_ptr = weight_ptr + clip * weight_stride + inner[:, None] * WIDTH + column[None, :]
    total = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    for _ in range(0, INNER, BLOCK_K):
        total = tl.dot(tl.load(a_ptr), tl.load(b_ptr), total)
        a_ptr += BLOCK_K
        b_ptr += BLOCK_K * WIDTH
    activated = 0.5 * total * (1.0 + tl.erf(total * 0.7071067811865476))
    o_ptr = out_ptr + (clip * n_out + row.to(tl.int64)[:, None]) * WIDTH + column[None, :]
    tl.store(o_ptr, activated.to(out_ptr.dtype.element_ty), mask=row[:, None] < n_out)


def strided_convolution_gelu(
    state_NxC: Tensor, weight_KCxO: Tensor, stride: int, tile: dict[str, int] = TILE
) -> Tensor:
    """gelu(convolution) of a long (N, C) state, N a multiple of the stride, to (N / stride, O).

    weight: (kernel · C, O), the taps one after the other. The last output row, which lacks taps, holds another row's values.
    """
    n_channels = state_NxC.shape[1]
    n_inner, width = weight_KCxO.shape
    n_out = state_NxC.shape[0] // stride
    n_readable = (state_NxC.shape[0] * n_channels - n_inner) // (stride * n_channels) + 1
    out = state_NxC.new_empty(n_out, width)
    _launch(state_NxC, weight_KCxO, out, 1, n_out, n_readable, stride * n_channels, tile)
    return out


def linear_gelu(rows_BxTxI: Tensor, weight_BxIxO: Tensor, tile: dict[str, int] = TILE) -> Tensor:
    """gelu(rows @ weight) per clip, (B, T, O). I: a multiple of BLOCK_K."""
    n_clips, n_out, n_inner = rows_BxTxI.shape
    out = rows_BxTxI.new_empty(n_clips, n_out, weight_BxIxO.shape[2])
    _launch(rows_BxTxI, weight_BxIxO, out, n_clips, n_out, n_out, n_inner, tile)
    return out


def _launch(
    rows: Tensor, weight: Tensor, out: Tensor, n_clips: int, n_out: int, n_readable: int, row: int, tile: dict[str, int]
) -> None:
    n_inner, width = weight.shape[-2:]
    block_n = min(tile["BLOCK_N"], width)
    if n_inner % tile["BLOCK_K"] or width % block_n:
        raise ValueError(f"an inner length of {n_inner} and {width} channels do not fit into tiles of {tile}")
    options: dict[str, Any] = {**tile, "BLOCK_N": block_n}
    grid = (triton.cdiv(n_out, tile["BLOCK_M"]) * (width // block_n), n_clips)
    strides = (rows.stride(0), weight.stride(0)) if n_clips > 1 else (0, 0)
    _linear_gelu[grid](rows, weight, out, n_out, n_readable, *strides, ROW=row, INNER=n_inner, WIDTH=width, **options)


def fits(architecture: dict[str, Any]) -> bool:
    """Whether every layer's channels fill whole tiles; those of the tiny architecture for tests do not."""
    return all(width % TILE["BLOCK_N"] == 0 and width % TILE["BLOCK_K"] == 0 for width in architecture["conv_dim"])


class FusedConvolutions:
    """`Convolutions` in bfloat16 with the kernel above: waveforms (B, samples) float32 to (B, T, 512)."""

    def __init__(self, convolutions: Convolutions) -> None:
        self._convolutions = convolutions
        self._strides = convolutions.stride[1:]
        self._weights = []
        for head, tail in zip(convolutions.heads, convolutions.tails, strict=True):
            # (O, taps · C), head taps first and then those beyond the stride, to (taps · C, O).
            self._weights.append(torch.cat([head, tail], dim=1).T.contiguous())

    def __call__(self, waveforms_BxS: Tensor) -> Tensor:
        """See the class."""
        return torch.cat([self._stack(part) for part in waveforms_BxS.split(ROWS)])

    def _stack(self, waveforms_BxS: Tensor) -> Tensor:
        n_clips, n_samples = waveforms_BxS.shape
        taps, weight = self._convolutions.first_layer(waveforms_BxS, multiple=TILE["BLOCK_K"])
        state_NxC = linear_gelu(taps, weight).flatten(0, 1)
        for weight, stride in zip(self._weights, self._strides, strict=True):
            state_NxC = strided_convolution_gelu(state_NxC, weight, stride)
        n_steps = n_frames(self._convolutions.architecture, n_samples)
        return state_NxC.view(n_clips, -1, state_NxC.shape[1])[:, :n_steps]
