"""The golden test of Toy: every hidden state is that of the authors' code, within 1e-4 of its maximum.

Give it a small checkpoint in the published format, inputs, and the states that the authors' code computes for them, made
by a script that anybody can run again (as tests/golden/make_transkun.py). Never the states that this code computes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from keybed.extract.encoders import describe
from keybed.extract.encoders.toy.model import load_toy


def assert_states_are_the_authors(folder: Path, n_bins: int = 4, window_s: float = 2.0) -> None:
    """folder: the checkpoint, its configuration, and expected.npz with waveforms (B, S) and hidden_states (state, B, T, D)."""
    expected = np.load(folder / "expected.npz")
    spec, path = describe("toy", weights=str(folder), n_bins=n_bins, window_s=window_s)
    assert path is not None
    with torch.inference_mode():
        states = list(load_toy(spec, Path(path))(torch.from_numpy(expected["waveforms"])))
    assert len(states) == len(expected["hidden_states"])
    for ours, theirs in zip(states, expected["hidden_states"], strict=True):
        assert np.abs(ours.numpy() - theirs).max() < 1e-4 * np.abs(theirs).max()
