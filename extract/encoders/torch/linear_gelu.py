"""GPU kernels in Triton: a product and the GELU of its result, in one pass over memory.

As separate operations the product writes its result, and GELU reads and writes it again; torch's GELU is also bound by the
arithmetic of erf. Here sums are float32, GELU is applied to them, and the result is written once. Tile sizes are fixed and
not chosen by timing, so bytes repeat. Imported on GPUs only: Triton comes with torch's CUDA builds.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

BLOCK_M, BLOCK_N, BLOCK_K = 128, 256, 64
"""Output rows and channels of one tile, and the inner length of one step."""
WARPS, STAGES, PROGRAMS = 8, 4, 1
"""Warps of one program, steps that are loaded ahead, and programs of one multiprocessor.

On an H100 the front end of 64 clips and 95M's 12 feed-forward parts took 15.6 ms, with 3 steps 16.7; tiles of 128 × 128 with
4 warps, two programs on a multiprocessor, 16.0; 256 × 128 17.4. The bytes of all are equal.
"""
SHORT_M, SHORT_N, SHORT_WARPS = 64, 128, 4
"""The tile and the warps of a product whose inner length is one step; 16 clips took 0.47 ms, with 64 × 256 0.61."""

_A1: tl.constexpr = tl.constexpr(2.30204539)
_A3: tl.constexpr = tl.constexpr(0.105226682)
_A5: tl.constexpr = tl.constexpr(-3.60270001e-4)
_A7: tl.constexpr = tl.constexpr(-8.82391010e-5)
_A9: tl.constexpr = tl.constexpr(3.22904775e-6)


@triton.jit  # type: ignore[untyped-decorator]
def _gelu(x):  # type: ignore[no-untyped-def]
    """x · Φ(x), with Φ(x) as 1 / (1 + 2^−p(x)) and p an odd polynomial fitted to it: off by 3e-6 at most."""
    inner = tl.minimum(tl.maximum(x, -5.0), 5.0)
    square = inner * inner
    p = inner * (_A1 + square * (_A3 + square * (_A5 + square * (_A7 + square * _A9))))
    return x / (1.0 + tl.exp2(-p))


@triton.jit  # type: ignore[untyped-decorator]
def _short(  # type: ignore[no-untyped-def]
    rows_ptr,
    weight_ptr,
    out_ptr,
    n_out,
    rows_stride,
    weight_stride,
    INNER: tl.constexpr,
    WIDTH: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """One tile of gelu(rows @ weight) of one clip; the whole inner length is one step."""
    tiles: tl.constexpr = WIDTH // BLOCK_N
    clip = tl.program_id(1).to(tl.int64)
    row = (tl.program_id(0) // tiles) * BLOCK_M + tl.arange(0, BLOCK_M)
    column = (tl.program_id(0) % tiles) * BLOCK_N + tl.arange(0, BLOCK_N)
    inner = tl.arange(0, INNER)
    # Rows beyond the end repeat the last one; a mask on loads would make them narrow.
    readable = tl.minimum(row, n_out - 1).to(tl.int64)
    rows = tl.load(rows_ptr + clip * rows_stride + readable[:, None] * INNER + inner[None, :])
    weight = tl.load(weight_ptr + clip * weight_stride + inner[:, None] * WIDTH + column[None, :])
    activated = _gelu(tl.dot(rows, weight))
    target = out_ptr + (clip * n_out + row.to(tl.int64)[:, None]) * WIDTH + column[None, :]
    tl.store(target, activated.to(out_ptr.dtype.element_ty), mask=row[:, None] < n_out)


@triton.jit  # type: ignore[untyped-decorator]
def _long(  # type: ignore[no-untyped-def]
    rows,
    weight,
    bias_ptr,
    out_ptr,
    n_out,
    n_tiles,
    INNER: tl.constexpr,
    WIDTH: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    PROGRAMS: tl.constexpr,
    BIAS: tl.constexpr,
):
    """Tiles of gelu(rows @ weight + bias), as many programs as the card has multiprocessors, each with every n-th tile."""
    tiles: tl.constexpr = WIDTH // BLOCK_N
    for tile in tl.range(tl.program_id(0), n_tiles, PROGRAMS, flatten=True):
        tile_m = tile // tiles
        tile_n = tile % tiles
        column = tile_n * BLOCK_N + tl.arange(0, BLOCK_N)
        total = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
        for start in range(0, INNER, BLOCK_K):
            left = rows.load([tile_m * BLOCK_M, start])
            right = weight.load([start, tile_n * BLOCK_N])
            total = tl.dot(left, right, total)
        if BIAS:
            total += tl.load(bias_ptr + column)[None, :].to(tl.float32)
        activated = _gelu(total)
        row = tile_m * BLOCK_M + tl.arange(0, BLOCK_M)
        target = out_ptr + row.to(tl.int64)[:, None] * WIDTH + column[None, :]
        tl.store(target, activated.to(out_ptr.dtype.element_ty), mask=row[:, None] < n_out)


def available() -> bool:
    """Whether this GPU has the copy engine that the kernels use (Hopper and later)."""
    return torch.cuda.get_device_capability() >= (9, 0)


def fits(n_inner: int, width: int) -> bool:
    """Whether a product of this inner length and width fills whole tiles."""
    return n_inner % BLOCK_K == 0 and width % BLOCK_N == 0


def products_gelu(rows_BxTxI: Tensor, weight_BxIxO: Tensor) -> Tensor:
    """gelu(rows @ weight) of each clip, (B, T, O), for a short inner length I, a power of two."""
    n_clips, n_out, n_inner = rows_BxTxI.shape
    width = weight_BxIxO.shape[2]
    out = rows_BxTxI.new_empty(n_clips, n_out, width)
    grid = (triton.cdiv(n_out, SHORT_M) * (width // SHORT_N), n_clips)
    _short[grid](
        rows_BxTxI,
        weight_BxIxO,
        out,
        n_out,
        rows_BxTxI.stride(0),
        weight_BxIxO.stride(0),
        INNER=n_inner,
        WIDTH=width,
        BLOCK_M=SHORT_M,
        BLOCK_N=SHORT_N,
        num_warps=SHORT_WARPS,
    )
    return out


def strided_convolution_gelu(state_NxC: Tensor, weight_KCxO: Tensor, stride: int) -> Tensor:
    """gelu(convolution) of a long (N, C) state, N a multiple of the stride, to (N / stride, O).

    weight: (kernel · C, O), the taps one after the other. Rows of the product overlap: row m holds the kernel · C numbers
    from m · stride · C. The last output row, which lacks taps, is the GELU of 0.
    """
    n_channels, n_inner = state_NxC.shape[1], weight_KCxO.shape[0]
    row = stride * n_channels
    n_whole = (state_NxC.numel() - n_inner) // row + 1
    rows = TensorDescriptor(state_NxC, [n_whole, n_inner], [row, 1], [BLOCK_M, BLOCK_K])
    return _launch(rows, state_NxC, weight_KCxO, None, state_NxC.shape[0] // stride)


@torch.library.custom_op("keybed::linear_gelu", mutates_args=())  # type: ignore[untyped-decorator]
def linear_gelu(rows_NxI: Tensor, weight_IxO: Tensor, bias_O: Tensor) -> Tensor:
    """gelu(rows @ weight + bias), (N, O); an operator of its own, so that torch.compile takes it as it is."""
    rows = TensorDescriptor(rows_NxI, list(rows_NxI.shape), [rows_NxI.shape[1], 1], [BLOCK_M, BLOCK_K])
    return _launch(rows, rows_NxI, weight_IxO, bias_O, rows_NxI.shape[0])


@linear_gelu.register_fake  # type: ignore[untyped-decorator]
def _(rows_NxI: Tensor, weight_IxO: Tensor, bias_O: Tensor) -> Tensor:
    return rows_NxI.new_empty(rows_NxI.shape[0], weight_IxO.shape[1])


def _launch(rows: TensorDescriptor, source: Tensor, weight_IxO: Tensor, bias_O: Tensor | None, n_out: int) -> Tensor:
    n_inner, width = weight_IxO.shape
    out = source.new_empty(n_out, width)
    weight = TensorDescriptor(weight_IxO, [n_inner, width], [width, 1], [BLOCK_K, BLOCK_N])
    n_programs = PROGRAMS * torch.cuda.get_device_properties(source.device).multi_processor_count
    _long[(n_programs,)](
        rows,
        weight,
        out if bias_O is None else bias_O,
        out,
        n_out,
        triton.cdiv(n_out, BLOCK_M) * (width // BLOCK_N),
        INNER=n_inner,
        WIDTH=width,
        BLOCK_M=BLOCK_M,
        BLOCK_N=BLOCK_N,
        BLOCK_K=BLOCK_K,
        PROGRAMS=n_programs,
        BIAS=bias_O is not None,
        num_warps=WARPS,
        num_stages=STAGES,
    )
    return out
