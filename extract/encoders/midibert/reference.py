"""MIDIBert's features in float64 on the CPU, one slice at a time without padding: what the model is checked against."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from keybed.extract.encoders import pooling
from keybed.extract.encoders.base import Clip, Pooled
from keybed.extract.encoders.midibert import cp_tokens
from keybed.extract.encoders.midibert.model import load_midibert
from keybed.extract.encoders.torch.float64 import compute_in_float64
from keybed.store.format.recipe import EncoderSpec


def reference(spec: EncoderSpec, file: Path | None, clip: Clip) -> Pooled:
    """Features of one clip. Takes 4 bytes per parameter while it runs."""
    tokens = cp_tokens.tokenize(clip.performance, clip.window_s)
    model = load_midibert(spec, file).eval()
    tables = [table["lut"] for table in model.word_emb]  # type: ignore[index]
    norm, layers = model.bert["embeddings"]["LayerNorm"], model.bert["encoder"]["layer"]  # type: ignore[index]
    compute_in_float64([*tables, model.in_linear, norm, *layers])
    slices = []
    with torch.no_grad():
        for part in cp_tokens.slices(len(tokens.ids)):
            ids_1xLx4 = torch.from_numpy(tokens.ids[part])[None]
            present_1xL = torch.ones(ids_1xLx4.shape[:2], dtype=torch.bool)
            slices.append([state[0].numpy() for state in model(ids_1xLx4, present_1xL)])
    states = [np.concatenate(parts) for parts in zip(*slices, strict=True)]
    return pooling.pool_row(spec, states, pooling.bins_of(tokens.onset_s, spec.n_bins, clip.window_s))
