"""MERT's fused kernels and its recorded batch against the same model as written; both need a GPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from keybed.extract.encoders import describe
from keybed.extract.encoders.base import Clip
from keybed.extract.encoders.mert.convolutions import in_two
from keybed.extract.encoders.mert.model import Mert
from keybed.extract.music.performance import Performance

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def test_the_fused_convolutions_are_those_as_written() -> None:
    """In float32 sums of bfloat16 numbers: nearer to float32 than the products as written are."""
    from keybed.extract.encoders.mert.fused import FusedConvolutions

    waveforms = 0.1 * torch.randn(19, 48_000, generator=torch.Generator().manual_seed(0)).cuda()
    features = {}
    for dtype in ("float32", "bfloat16"):
        spec, _ = describe("mert", weights="random:95M", n_bins=4, window_s=2.0, compute_dtype=dtype)
        convolutions = Mert(spec, None, compile=False)._model.convolutions
        with torch.inference_mode():
            features[dtype] = convolutions(waveforms).float()
            if dtype == "bfloat16":
                fused = FusedConvolutions(convolutions)(waveforms).float()
    assert fused.shape == features["float32"].shape == (19, 149, 512)
    error = {
        name: float((values - features["float32"]).norm() / features["float32"].norm())
        for name, values in (("fused", fused), ("written", features["bfloat16"]))
    }
    assert error["fused"] < 0.01
    assert error["fused"] <= error["written"]


def test_the_taps_in_two_parts_are_those_as_written() -> None:
    from keybed.extract.encoders.torch.split_taps import split_taps

    samples = torch.randn(3, 4000, generator=torch.Generator().manual_seed(0)).cuda()
    taps = samples.unfold(1, 10, 5)
    mean = taps.mean(1, keepdim=True)
    wanted = torch.cat([taps - mean, torch.ones_like(taps[:, :, :1])], dim=2)
    coarse, fine = in_two(wanted, torch.bfloat16)
    assert fine.abs().max() > 0
    split = split_taps(samples, mean[:, 0], 5, taps.shape[1], 64)
    assert torch.equal(split[:, :, :33], torch.cat([coarse, fine, coarse], dim=2))
    assert not split[:, :, 33:].any()


def test_a_recorded_batch_gives_the_bytes_of_the_functions_that_it_recorded() -> None:
    none = Performance(*(np.zeros(0) for _ in range(4)))
    audio = np.random.default_rng(0).normal(size=(20, 48_000)).astype(np.float32)
    clips = [Clip(row, none, 2.0) for row in audio]
    spec, _ = describe("mert", weights="random:95M", n_bins=4, window_s=2.0, compute_dtype="bfloat16")
    encoder = Mert(spec, None, batch_rows=8)
    assert encoder.execution == "compiled"
    recorded = encoder.encode(clips)
    assert encoder._recorded is not None
    encoder._recorded = None
    called = encoder.encode(clips)
    np.testing.assert_array_equal(recorded.layers, called.layers)
    np.testing.assert_array_equal(recorded.frames, called.frames)
