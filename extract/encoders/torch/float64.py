"""Compute in float64 with one module's parameters converted at a time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn


def compute_in_float64(modules: Iterable[nn.Module]) -> None:
    """Convert the parameters of each module to float64 while it runs, and back to float32 afterwards, which is exact.

    A whole model in float64 takes 8 bytes per parameter. Inputs must be float64. Not for torch.inference_mode, in which
    parameters cannot be replaced.
    """
    for module in modules:
        module.register_forward_pre_hook(_convert)
        module.register_forward_hook(_restore)


def _convert(module: nn.Module, args: Any) -> None:
    module.double()


def _restore(module: nn.Module, args: Any, output: Any) -> None:
    module.float()
