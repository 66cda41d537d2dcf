"""MuQ's features in float64 on the CPU: what the model is checked against. The spectrogram is the model's own."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from keybed.extract.encoders import pooling
from keybed.extract.encoders.audio_check import checked_waveform
from keybed.extract.encoders.base import Clip, Pooled
from keybed.extract.encoders.muq.model import MuqStates, load_muq
from keybed.extract.encoders.muq.spec import frame_hop_s
from keybed.extract.encoders.torch.float64 import compute_in_float64
from keybed.store.format.recipe import EncoderSpec

PIECE, MARGIN = 128, 12
"""Spectrogram frames of a piece and beside it: a state sees 9 on either side. Both are multiples of 4, the stride."""


def reference(spec: EncoderSpec, file: Path | None, clip: Clip) -> Pooled:
    """Features of one clip. Takes 4 bytes per parameter while it runs."""
    model = load_muq(spec, file)
    conformer = model.conformer
    compute_in_float64([*model.conv.conv, model.conv.linear, *conformer.layers, conformer.layer_norm])
    with torch.no_grad():
        log_mel = model.log_mel(torch.from_numpy(checked_waveform(spec, clip, 0))[None])
        states = [state[0].numpy() for state in conformer(_convolutions(model, log_mel.double()))]
    centres = pooling.frame_centres_s(len(states[0]), frame_hop_s(spec.preprocessing["architecture"]), 0.0)
    return pooling.pool_row(spec, states, pooling.bins_of(centres, spec.n_bins, clip.window_s))


def _convolutions(model: MuqStates, log_mel_BxMxT: Tensor) -> Tensor:
    """State 0, piece by piece: torch has no float64 convolution of its own and copies 1.2 GB for a whole clip of 10 s."""
    n_frames = log_mel_BxMxT.shape[2]
    pieces = []
    for start in range(0, n_frames, PIECE):
        first, stop = max(start - MARGIN, 0), min(start + PIECE, n_frames)
        piece_BxTxD = model.conv(log_mel_BxMxT[:, :, first : stop + MARGIN])
        pieces.append(piece_BxTxD[:, (start - first) // 4 : -(-(stop - first) // 4)])
    return torch.cat(pieces, dim=1)
