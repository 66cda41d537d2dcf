"""Aria's features in float64 on the CPU, one slice at a time without padding: what the model is checked against."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from keybed.extract.encoders import pooling
from keybed.extract.encoders.aria import tokens
from keybed.extract.encoders.aria.model import load_aria
from keybed.extract.encoders.base import Clip, Pooled
from keybed.extract.encoders.torch.float64 import compute_in_float64
from keybed.store.format.recipe import EncoderSpec


def reference(spec: EncoderSpec, file: Path | None, clip: Clip) -> Pooled:
    """Features of one clip. Takes 4 bytes per parameter while it runs."""
    model = load_aria(spec, file)
    compute_in_float64([model.tok_embeddings, *model.encode_layers, model.out_layer_norm])
    parts = tokens.slices(tokens.cut(clip.performance, clip.window_s), spec.preprocessing["max_notes"])
    slices, onsets = [], []
    with torch.no_grad():
        for ids, note_at, onset_s in map(tokens.tokenize, parts):
            slices.append([state[0].numpy()[note_at] for state in model(torch.from_numpy(ids)[None])])
            onsets.append(onset_s)
    states = [np.concatenate(parts) for parts in zip(*slices, strict=True)]
    return pooling.pool_row(spec, states, pooling.bins_of(np.concatenate(onsets), spec.n_bins, clip.window_s))
