from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from keybed.extract.encoders import describe
from keybed.extract.encoders.mert.convolutions import (
    CPU_POSITION_BLOCK,
    GPU_POSITION_BLOCK,
    BlockedPosition,
    outer_sum,
    strided_convolution,
)
from keybed.extract.encoders.mert.model import MertStates, load_hubert


def _tiny_hubert() -> torch.nn.Module:
    spec, _ = describe("mert", weights="random:tiny", n_bins=2, window_s=1.0)
    return load_hubert(spec, None).eval()


@pytest.mark.parametrize("block", [CPU_POSITION_BLOCK, GPU_POSITION_BLOCK])
@pytest.mark.parametrize("n_steps", [1, 15, 16, 17, 74, 149])
def test_the_blocked_position_is_transformers_positional_convolution(n_steps: int, block: int) -> None:
    embedding = _tiny_hubert().encoder.pos_conv_embed
    torch.nn.utils.parametrize.remove_parametrizations(embedding.conv, "weight")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        embedding.conv.bias.normal_(generator=generator)
        state = torch.randn(3, n_steps, 48, generator=generator)
        torch.testing.assert_close(BlockedPosition(embedding, block)(state), embedding(state), rtol=1e-5, atol=1e-5)


def test_states_are_the_same_with_either_block() -> None:
    spec, _ = describe("mert", weights="random:tiny", n_bins=2, window_s=1.0)
    architecture = spec.preprocessing["architecture"]
    waveforms = torch.randn(2, 24000, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        small = list(MertStates(_tiny_hubert(), architecture, CPU_POSITION_BLOCK)(waveforms))
        large = list(MertStates(_tiny_hubert(), architecture, GPU_POSITION_BLOCK)(waveforms))
    for one, other in zip(small, large, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("n_rows", [1, 255, 256, 257, 1000])
def test_a_sum_in_parts_is_the_sum(n_rows: int) -> None:
    rows = torch.randn(2, n_rows + 3, 5, generator=torch.Generator().manual_seed(n_rows), dtype=torch.float64)[:, :-3]
    expected = np.einsum("btk,btl->bkl", rows.numpy(), rows.numpy())
    for in_parts in (False, True):
        np.testing.assert_allclose(outer_sum(rows, in_parts=in_parts).numpy(), expected, rtol=1e-10)


@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (2, 2), (4, 2), (3, 3), (5, 3)])
def test_a_strided_convolution_is_torchs(kernel: int, stride: int) -> None:
    generator = torch.Generator().manual_seed(kernel)
    state, weight = torch.randn(12, 4, generator=generator), torch.randn(6, 4, kernel, generator=generator)
    weight_OxKxC = weight.transpose(1, 2)
    ours = strided_convolution(state, weight_OxKxC[:, :stride].flatten(1), weight_OxKxC[:, stride:].flatten(1), stride)
    theirs = F.conv1d(state.T[None], weight, stride=stride)[0].T
    torch.testing.assert_close(ours[: len(theirs)], theirs)
