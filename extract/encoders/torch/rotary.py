"""Rotary position embedding (Su et al., arXiv 2104.09864) over the halves of a head, computed in float32."""

from __future__ import annotations

import torch
from torch import Tensor


def rotation_rates(head_width: int, base: float) -> Tensor:
    """Angle per step of each pair of a head's channels, float32 (head_width / 2,), on the CPU."""
    exponents = torch.arange(0, head_width, 2, dtype=torch.float32, device="cpu") / head_width
    return 1.0 / base**exponents


def turns(n_steps: int, rates: Tensor) -> Tensor:
    """Cosines and sines of every step, float32 (2, n_steps, head_width), on the device of `rates`."""
    angles = torch.arange(n_steps, device=rates.device)[:, None] * rates.float()
    angles = torch.cat([angles, angles], dim=1)
    return torch.stack([angles.cos(), angles.sin()])


def rotate(x: Tensor, turns: Tensor) -> Tensor:
    """Rotate x (…, head_width) by cosines and sines that broadcast over its other axes; returns x's dtype."""
    first, second = x.chunk(2, dim=-1)
    return (x * turns[0] + torch.cat([-second, first], dim=-1) * turns[1]).to(x.dtype)
