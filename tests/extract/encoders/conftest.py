"""Clips and goldens that the encoders' tests share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from keybed.extract.audio.waveform import SAMPLE_RATE_HZ
from keybed.extract.encoders.base import Clip
from keybed.extract.music.performance import Performance

MakeClip = Callable[..., Clip]


@pytest.fixture(scope="session")
def goldens(shared_data: Path) -> Path:
    return shared_data / "golden"


@pytest.fixture
def make_clip() -> MakeClip:
    def make(seed: int = 0, n_notes: int = 40, window_s: float = 10.0) -> Clip:
        rng = np.random.default_rng(seed)
        onset_s = np.sort(rng.uniform(0, window_s, n_notes))
        time_s = np.arange(round(window_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
        audio = 0.1 * rng.standard_normal(time_s.size) + 0.3 * np.sin(2 * np.pi * rng.uniform(200, 900) * time_s**1.1)
        performance = Performance(
            onset_s,
            onset_s + rng.uniform(0.05, 0.8, n_notes),
            rng.integers(21, 109, n_notes).astype(np.int16),
            rng.integers(1, 128, n_notes).astype(np.int16),
            np.sort(rng.uniform(0, window_s, 9)),
            rng.integers(0, 128, 9).astype(np.int16),
        )
        return Clip(audio.astype(np.float32), performance, window_s)

    return make


@pytest.fixture(autouse=True)
def _compiled_afresh() -> Iterator[None]:
    """On a GPU every encoder compiles, and torch counts how often one function was."""
    yield
    if torch.cuda.is_available():
        torch._dynamo.reset()
