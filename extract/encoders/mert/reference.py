"""MERT's features in float64 by transformers' own modules on the CPU: what the fast model is checked against."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from keybed.extract.audio.waveform import SAMPLE_RATE_HZ
from keybed.extract.encoders import pooling
from keybed.extract.encoders.audio_check import checked_waveform
from keybed.extract.encoders.base import Clip, Pooled
from keybed.extract.encoders.mert.model import VARIANCE_FLOOR, load_hubert
from keybed.extract.encoders.mert.spec import frame_geometry
from keybed.extract.encoders.torch.float64 import compute_in_float64
from keybed.store.format.recipe import EncoderSpec


def reference(spec: EncoderSpec, file: Path | None, clip: Clip) -> Pooled:
    """Features of one clip. Takes 4 bytes per parameter while it runs."""
    audio = checked_waveform(spec, clip, 0).astype(np.float64)
    if spec.preprocessing["do_normalize"]:
        audio = (audio - audio.mean()) / np.sqrt(audio.var() + VARIANCE_FLOOR)
    hubert = load_hubert(spec, file).eval()
    encoder = hubert.encoder
    compute_in_float64(
        [
            *hubert.feature_extractor.conv_layers,
            hubert.feature_projection,
            encoder.pos_conv_embed,
            encoder.layer_norm,
            *encoder.layers,
        ]
    )
    with torch.no_grad():
        output = hubert(torch.from_numpy(audio)[None], output_hidden_states=True)
    # Pre-norm models put the final norm into last_hidden_state only.
    states = [state[0].numpy() for state in (*output.hidden_states[:-1], output.last_hidden_state)]
    hop, receptive = frame_geometry(spec.preprocessing["architecture"])
    centres = pooling.frame_centres_s(len(states[0]), hop / SAMPLE_RATE_HZ, receptive / SAMPLE_RATE_HZ)
    return pooling.pool_row(spec, states, pooling.bins_of(centres, spec.n_bins, clip.window_s))
