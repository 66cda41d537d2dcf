"""Toy in torch. Each state is pooled at once and then dropped."""

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
from keybed.extract.encoders.torch import device
from keybed.extract.encoders.torch.transfer import Transfer
from keybed.extract.encoders.torch.waveforms import averaging_over_bins, pool_states, pool_waveforms
from keybed.extract.encoders.toy import tensors
from keybed.extract.encoders.toy.spec import NAME, RANDOM_SEED, frame_hop_s
from keybed.store.format.recipe import EncoderSpec

CPU_BATCH_ROWS, GPU_BATCH_ROWS = 4, 64
"""Rows per batch, fixed: bytes must not depend on how many rows a shard has left."""


class Toy(Encoder):
    """Toy; see the module's docstring."""

    def __init__(self, spec: EncoderSpec, file: Path | None) -> None:
        self.spec = spec
        self._device, dtype = device.prepare(spec)
        self._model = load_toy(spec, file).to(self._device, dtype)
        n_samples = round(spec.preprocessing["window_s"] * SAMPLE_RATE_HZ)
        self._averaging = averaging_over_bins(spec, centres_s(spec, n_samples)).to(self._device)
        rows = GPU_BATCH_ROWS if self._device.type == "cuda" else CPU_BATCH_ROWS
        self._transfer = Transfer(self._device, (rows, n_samples))

    def encode(self, clips: Sequence[Clip | None]) -> Pooled:
        """See Encoder.encode. Raises EncoderError for a clip of another length than the recipe's window."""
        return pool_waveforms(self.spec, clips, self._transfer, self._pool_batch)

    def _pool_batch(self, waveforms_BxS: Tensor) -> tuple[Tensor, Tensor]:
        with torch.inference_mode():
            states = self._model(waveforms_BxS.to(self._model.input.weight.dtype))
            return pool_states(states, self.spec.frame_states, self._averaging)


class ToyStates(nn.Module):
    """Waveforms (B, samples) in, hidden states (B, T, D) out, one after the other, first to last."""

    def __init__(self, architecture: dict[str, Any]) -> None:
        super().__init__()
        width, self.hop = architecture["hidden_size"], architecture["hop_length"]
        self.input = nn.Linear(self.hop, width)
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(architecture["num_hidden_layers"]))

    def forward(self, waveforms_BxS: Tensor) -> Iterator[Tensor]:
        """Yield the output of the first layer, then of every other."""
        state_BxTxD = self.input(waveforms_BxS.unfold(1, self.hop, self.hop))
        yield state_BxTxD
        for layer in self.layers:
            state_BxTxD = torch.tanh(layer(state_BxTxD))
            yield state_BxTxD


def load_toy(spec: EncoderSpec, file: Path | None) -> ToyStates:
    """The model with the tensors of a checkpoint, or with random weights where file is None. Raises WeightsRefused."""
    with torch.device("meta"):
        model = ToyStates(spec.preprocessing["architecture"])
    wanted = model.state_dict()
    state = device.draw(wanted, RANDOM_SEED) if file is None else device.own_tensors(spec, file, tensors.own)
    compare_tensors(NAME, file or "random", wanted, state)
    model.load_state_dict({name: tensor.float() for name, tensor in state.items()}, assign=True)
    return model.eval().requires_grad_(False)


def centres_s(spec: EncoderSpec, n_samples: int) -> Any:
    """Centre of each frame's receptive field in seconds."""
    hop_s = frame_hop_s(spec.preprocessing["architecture"])
    return pooling.frame_centres_s(n_samples // spec.preprocessing["architecture"]["hop_length"], hop_s, hop_s)
