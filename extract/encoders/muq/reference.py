"""MuQ's features in float64 on the CPU: what the model is checked against. The spectrogram is the model's own."""

from __future__ import annotations

from pathlib import Path

import torch

from keybed.extract.encoders import pooling
from keybed.extract.encoders.audio_check import checked_waveform
from keybed.extract.encoders.base import Clip, Pooled
from keybed.extract.encoders.muq.model import load_muq
from keybed.extract.encoders.muq.spec import frame_hop_s
from keybed.store.format.recipe import EncoderSpec


def reference(spec: EncoderSpec, file: Path | None, clip: Clip) -> Pooled:
    """Features of one clip. Takes 8 bytes per parameter while it runs."""
    model = load_muq(spec, file)
    with torch.inference_mode():
        log_mel = model.log_mel(torch.from_numpy(checked_waveform(spec, clip, 0))[None])
        states = [state[0].numpy() for state in model.double().conformer(model.conv(log_mel.double()))]
    centres = pooling.frame_centres_s(len(states[0]), frame_hop_s(spec.preprocessing["architecture"]), 0.0)
    return pooling.pool_row(spec, states, pooling.bins_of(centres, spec.n_bins, clip.window_s))
