"""Transkun's features in float64 on the CPU: what the model is checked against. The resampled clip is the model's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from keybed.extract.encoders import pooling
from keybed.extract.encoders.audio_check import checked_waveform
from keybed.extract.encoders.base import Clip, Pooled
from keybed.extract.encoders.transkun.model import TokenPooling, at_model_rate, load_transkun
from keybed.store.format.recipe import EncoderSpec


def reference(spec: EncoderSpec, file: Path | None, clip: Clip) -> Pooled:
    """Features of one clip. Takes about 1 GB while it runs."""
    network = load_transkun(spec, file, torch.float64)
    waveform = at_model_rate(spec, checked_waveform(spec, clip, 0)).astype(np.float64)
    pool_tokens = TokenPooling(spec.preprocessing["architecture"], clip.window_s)
    with torch.inference_mode():
        states = [pool_tokens(state)[0].numpy() for state in network.states(torch.from_numpy(waveform)[None])]
    return pooling.pool_row(spec, states, pooling.bins_of(pool_tokens.centres_s, spec.n_bins, clip.window_s))
