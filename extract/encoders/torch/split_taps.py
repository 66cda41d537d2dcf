"""A GPU kernel in Triton: the taps of a first convolution, each as a sum of two bfloat16 numbers, in one pass over memory.

As separate operations (subtract, append, round, subtract, round, append, fill up) this was a tenth of MERT's front end.
Imported on GPUs only: Triton comes with torch's CUDA builds.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK_ROWS = 128
"""Rows of one program."""


@triton.jit  # type: ignore[untyped-decorator]
def _split(  # type: ignore[no-untyped-def]
    samples_ptr,
    mean_ptr,
    out_ptr,
    n_rows,
    samples_stride,
    TAPS: tl.constexpr,
    STRIDE: tl.constexpr,
    WIDTH: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
):
    """Rows of (coarse taps, 1, fine taps, 0, coarse taps, 1, zeros)."""
    clip = tl.program_id(1).to(tl.int64)
    row = tl.program_id(0) * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
    column = tl.arange(0, WIDTH)
    part = column // (TAPS + 1)
    tap = column % (TAPS + 1)
    sample = (tap < TAPS) & (part < 3)
    mean = tl.load(mean_ptr + clip * TAPS + tap, mask=sample, other=0.0)
    at = samples_ptr + clip * samples_stride + row[:, None] * STRIDE + tap[None, :]
    value = tl.load(at, mask=sample[None, :] & (row[:, None] < n_rows), other=0.0) - mean[None, :]
    value = tl.where((tap[None, :] == TAPS) & (part[None, :] < 3), 1.0, value)
    coarse = value.to(tl.bfloat16)
    fine = (value - coarse.to(tl.float32)).to(tl.bfloat16)
    target = out_ptr + (clip * n_rows + row.to(tl.int64)[:, None]) * WIDTH + column[None, :]
    tl.store(target, tl.where(part[None, :] == 1, fine, coarse), mask=row[:, None] < n_rows)


def split_taps(samples_BxS: Tensor, mean_BxK: Tensor, stride: int, n_rows: int, width: int) -> Tensor:
    """(B, n_rows, width) in bfloat16: the K taps of each row without their mean and a tap of 1, in parts.

    Row t begins at sample t · stride. The parts are the coarse ones, the fine ones and the coarse ones again, then zeros.
    samples, mean: float32; width: a power of two, at least 3 (K + 1).
    """
    n_clips, n_taps = mean_BxK.shape
    out = samples_BxS.new_empty(n_clips, n_rows, width, dtype=torch.bfloat16)
    _split[(triton.cdiv(n_rows, BLOCK_ROWS), n_clips)](
        samples_BxS,
        mean_BxK.contiguous(),
        out,
        n_rows,
        samples_BxS.stride(0),
        TAPS=n_taps,
        STRIDE=stride,
        WIDTH=width,
        BLOCK_ROWS=BLOCK_ROWS,
        num_warps=4,
    )
    return out
