"""MuQ in torch, without transformers or the authors' package. Each state is pooled at once and then dropped.

With compute_dtype bfloat16, only the conformer computes in bfloat16; spectrogram and convolutions stay in float32.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from keybed.extract.audio.waveform import SAMPLE_RATE_HZ
from keybed.extract.encoders import pooling
from keybed.extract.encoders.base import Clip, Encoder, Pooled
from keybed.extract.encoders.checkpoint import compare_tensors
from keybed.extract.encoders.muq import tensors
from keybed.extract.encoders.muq.layers import Conformer, Convolutions
from keybed.extract.encoders.muq.spec import NAME, RANDOM_SEED, frame_hop_s, n_frames
from keybed.extract.encoders.muq.spectrogram import LogMel
from keybed.extract.encoders.torch import device
from keybed.extract.encoders.torch.rotary import rotation_rates
from keybed.extract.encoders.torch.transfer import Transfer
from keybed.extract.encoders.torch.waveforms import averaging_over_bins, pool_states, pool_waveforms
from keybed.store.format.recipe import EncoderSpec

CPU_BATCH_ROWS, GPU_BATCH_ROWS = 4, 32
"""Rows per batch, fixed: the last batch of a shard is filled up with blank clips."""
GPU_CONVOLUTION_ROWS = 8
"""Clips per step of the convolutions on a GPU."""


class Muq(Encoder):
    """MuQ; see the module's docstring."""

    def __init__(self, spec: EncoderSpec, file: Path | None) -> None:
        self.spec = spec
        self._device, dtype = device.prepare(spec)
        on_gpu = self._device.type == "cuda"
        architecture = spec.preprocessing["architecture"]
        self._model = load_muq(spec, file).to(self._device)
        self._model.conformer.to(dtype)
        self._model.conv.rows_at_once = GPU_CONVOLUTION_ROWS if on_gpu else 1
        n_samples = round(spec.preprocessing["window_s"] * SAMPLE_RATE_HZ)
        centres_s = pooling.frame_centres_s(n_frames(architecture, n_samples), frame_hop_s(architecture), 0.0)
        self._averaging = averaging_over_bins(spec, centres_s).to(self._device)
        self._transfer = Transfer(self._device, (GPU_BATCH_ROWS if on_gpu else CPU_BATCH_ROWS, n_samples))

    def encode(self, clips: Sequence[Clip | None]) -> Pooled:
        """See Encoder.encode. Raises EncoderError for a clip of another length than the recipe's window."""
        return pool_waveforms(self.spec, clips, self._transfer, self._pool_batch)

    def _pool_batch(self, waveforms_BxS: Tensor) -> tuple[Tensor, Tensor]:
        with torch.inference_mode():
            return pool_states(self._model(waveforms_BxS), self.spec.frame_states, self._averaging)


class MuqStates(nn.Module):
    """Waveforms (B, samples) float32 in, hidden states (B, T, D) out, one after the other, first to last."""

    def __init__(self, architecture: dict[str, Any]) -> None:
        super().__init__()
        self.conv, self.conformer = Convolutions(architecture), Conformer(architecture)

    def forward(self, waveforms_BxS: Tensor) -> Iterator[Tensor]:
        """Yield n_layers + 1 states: the output of the convolutions, then of every layer."""
        state_BxTxD = self.conv(self.log_mel(waveforms_BxS))
        yield from self.conformer(state_BxTxD.to(self.conformer.layer_norm.weight.dtype))


def load_muq(spec: EncoderSpec, file: Path | None) -> MuqStates:
    """The model with the tensors of a checkpoint, or with random weights where file is None; batch norms are folded.

    Raises WeightsRefused with the name of every tensor that is missing, unexpected or of another shape.
    """
    architecture = spec.preprocessing["architecture"]
    with torch.device("meta"):
        model = MuqStates(architecture)
    wanted = {name: tensor for name, tensor in model.state_dict().items() if not name.endswith("num_batches_tracked")}
    state = device.draw(wanted, RANDOM_SEED) if file is None else device.own_tensors(spec, file, tensors.own)
    if file is None or tensors.RATES not in state:
        head_width = architecture["hidden_size"] // architecture["num_attention_heads"]
        state[tensors.RATES] = rotation_rates(head_width, architecture["rotary_embedding_base"])
    compare_tensors(NAME, file or "random", wanted, state)
    # Not strict, because the counters of the batch norms are left out; compare_tensors has checked the rest.
    model.load_state_dict({name: tensor.float() for name, tensor in state.items()}, strict=False, assign=True)
    model.eval().requires_grad_(False)
    model.conv.fold_batch_norms()
    model.conformer.fold_batch_norms()
    model.log_mel = LogMel(architecture)
    return model
