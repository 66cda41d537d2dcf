"""Toy's features in float64 on the CPU: what every process compares the model with, once."""

from __future__ import annotations

from pathlib import Path

import torch

from keybed.extract.encoders import pooling
from keybed.extract.encoders.audio_check import checked_waveform
from keybed.extract.encoders.base import Clip, Pooled
from keybed.extract.encoders.toy.model import centres_s, load_toy
from keybed.store.format.recipe import EncoderSpec


def reference(spec: EncoderSpec, file: Path | None, clip: Clip) -> Pooled:
    """Features of one clip."""
    model = load_toy(spec, file).double()
    waveform = torch.from_numpy(checked_waveform(spec, clip, 0)).double()
    with torch.inference_mode():
        states = [state[0].numpy() for state in model(waveform[None])]
    bins = pooling.bins_of(centres_s(spec, len(waveform)), spec.n_bins, clip.window_s)
    return pooling.pool_row(spec, states, bins)
