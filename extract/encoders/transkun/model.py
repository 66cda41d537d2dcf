"""Transkun in torch, without the authors' package. Each state is pooled at once and then dropped. Always float32."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import soxr
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from keybed.extract.audio.waveform import SAMPLE_RATE_HZ
from keybed.extract.encoders.base import Clip, Encoder, Pooled
from keybed.extract.encoders.checkpoint import compare_tensors
from keybed.extract.encoders.torch import device
from keybed.extract.encoders.torch.transfer import Transfer
from keybed.extract.encoders.torch.waveforms import averaging_over_bins, pool_states, pool_waveforms
from keybed.extract.encoders.transkun import tensors
from keybed.extract.encoders.transkun.layers import Backbone
from keybed.extract.encoders.transkun.spec import (
    N_KEYS,
    NAME,
    RANDOM_SEED,
    SILENCE_FRAMES,
    group_centres_s,
    n_spectrum_tokens,
    width,
)
from keybed.extract.encoders.transkun.spectrogram import LogMel, mel_filters
from keybed.store.format.recipe import EncoderSpec

CPU_BATCH_ROWS, GPU_BATCH_ROWS = 1, 16
"""Rows per batch, fixed: the last batch of a shard is filled up with blank clips. One clip is 13,261 tokens."""
GPU_SPECTROGRAM_ROWS = 4


class Transkun(Encoder):
    """Transkun; see the module's docstring."""

    def __init__(self, spec: EncoderSpec, file: Path | None) -> None:
        self.spec = spec
        self._device, _ = device.prepare(spec)
        on_gpu = self._device.type == "cuda"
        architecture = spec.preprocessing["architecture"]
        self._network = shared_network(spec, file, self._device)
        self._network.spectrogram.rows_at_once = GPU_SPECTROGRAM_ROWS if on_gpu else 1
        self._pool_tokens = TokenPooling(architecture, spec.preprocessing["window_s"])
        self._averaging = averaging_over_bins(spec, self._pool_tokens.centres_s).to(self._device)
        n_samples = n_model_samples(architecture, spec.preprocessing["window_s"])
        self._transfer = Transfer(self._device, (GPU_BATCH_ROWS if on_gpu else CPU_BATCH_ROWS, n_samples))

    def encode(self, clips: Sequence[Clip | None]) -> Pooled:
        """See Encoder.encode. Raises EncoderError for a clip of another length than the recipe's window."""
        return pool_waveforms(self.spec, clips, self._transfer, self._pool_batch, self._at_model_rate)

    def _at_model_rate(self, waveform: NDArray[np.float32]) -> NDArray[np.float32]:
        return at_model_rate(self.spec, waveform)

    def _pool_batch(self, waveforms_BxS: Tensor) -> tuple[Tensor, Tensor]:
        with torch.inference_mode():
            states = self._network.states(waveforms_BxS)
            return pool_states(map(self._pool_tokens, states), self.spec.frame_states, self._averaging)


def n_model_samples(architecture: dict[str, Any], window_s: float) -> int:
    """Samples of a clip at the model's rate."""
    return round(window_s * architecture["rate_hz"])


def at_model_rate(spec: EncoderSpec, waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    """A clip at 24 kHz, resampled to 44.1 kHz."""
    architecture = spec.preprocessing["architecture"]
    wanted = n_model_samples(architecture, spec.preprocessing["window_s"])
    resampled = soxr.resample(waveform, SAMPLE_RATE_HZ, architecture["rate_hz"], "HQ")
    return np.pad(resampled, (0, max(wanted - resampled.size, 0)))[:wanted]


class TokenPooling:
    """From a state (B, 1 + groups, tokens, D) to the pooled tokens of the window's moments, (B, T, 6 D): TOKEN_POOLING."""

    def __init__(self, architecture: dict[str, Any], window_s: float) -> None:
        centres_s = group_centres_s(architecture)
        within = np.flatnonzero((centres_s >= 0) & (centres_s < window_s))
        self.centres_s = centres_s[within]
        # The first moment of a state is the aggregate.
        self._moments = slice(1 + int(within[0]), 2 + int(within[-1])) if within.size else slice(0)
        self._spectrum = slice(1, 1 + n_spectrum_tokens(architecture))
        self._sustain = self._spectrum.stop

    def __call__(self, state_BxTxFxD: Tensor) -> Tensor:
        """See the class."""
        state_BxTxFxD = state_BxTxFxD[:, self._moments]
        pooled: list[Tensor] = []
        for tokens_BxTxFxD in (state_BxTxFxD[:, :, -N_KEYS:], state_BxTxFxD[:, :, self._spectrum]):
            mean_BxTx1xD = tokens_BxTxFxD.mean(2, keepdim=True)
            sd_BxTxD = (tokens_BxTxFxD - mean_BxTx1xD).square_().mean(2).sqrt_()
            pooled += [mean_BxTx1xD[:, :, 0], sd_BxTxD]
        return torch.cat([*pooled, state_BxTxFxD[:, :, 0], state_BxTxFxD[:, :, self._sustain]], dim=2)


class Head(nn.Module):
    """Linear, GELU, linear."""

    def __init__(self, n_in: int, hidden: int, n_out: int) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(n_in, hidden), nn.Linear(hidden, n_out)

    def forward(self, x: Tensor) -> Tensor:
        """(…, n_in) to (…, n_out)."""
        return self.outer(F.gelu(self.inner(x)))


class Network(nn.Module):
    """The whole transcription model: spectrogram, backbone, and the heads that read notes."""

    def __init__(self, architecture: dict[str, Any]) -> None:
        super().__init__()
        self.architecture = architecture
        scored = architecture["score_factor"] * architecture["base_width"]
        self.spectrogram, self.backbone = LogMel(architecture), Backbone(architecture)
        self.upsample = nn.ConvTranspose1d(width(architecture), scored, 8, stride=8)
        self.scorer = nn.Linear(scored, 2 * scored + 1)
        self.velocity = Head(3 * scored, architecture["velocity_hidden"], 128)
        self.refinement = Head(3 * scored, architecture["refinement_hidden"], 4)

    def states(self, clips_BxS: Tensor) -> Iterator[Tensor]:
        """Clips at the model's rate in, silence around them; n_layers + 1 states out, as of `states_of_contexts`."""
        n_context = round(self.architecture["context_s"] * self.architecture["rate_hz"])
        before = SILENCE_FRAMES * self.architecture["hop_length"]
        return self.states_of_contexts(F.pad(clips_BxS, (before, n_context - before - clips_BxS.shape[1])))

    def states_of_contexts(self, contexts_BxS: Tensor) -> Iterator[Tensor]:
        """Contexts of 16 s in; n_layers + 1 states (B, 1 + groups, tokens, D) out, one after the other."""
        return self.backbone(self.spectrogram(contexts_BxS))


_SHARED: WeakValueDictionary[str, Network] = WeakValueDictionary()
"""Networks that are in use, by checkpoint and device."""


def shared_network(spec: EncoderSpec, file: Path | None, on: torch.device) -> Network:
    """`load_transkun` on a device; all that use one checkpoint at a time have one network, whose tensors nobody changes."""
    # Sorted: a recipe's entries are in another order than a new description's.
    key = f"{spec.weights_sha256} {sorted(spec.preprocessing['architecture'].items())} {on}"
    network = _SHARED.get(key)
    if network is None:
        network = _SHARED[key] = load_transkun(spec, file).to(on)
    return network


def load_transkun(spec: EncoderSpec, file: Path | None, dtype: torch.dtype = torch.float32) -> Network:
    """The network with the tensors of a checkpoint, or with random weights where file is None; ready to run.

    Raises WeightsRefused with the name of every tensor that is missing, unexpected or of another shape.
    """
    architecture = spec.preprocessing["architecture"]
    with torch.device("meta"):
        network = Network(architecture)
    wanted = network.state_dict()
    if file is None:
        state = device.draw(wanted, RANDOM_SEED)
        state["spectrogram.filters"] = mel_filters(architecture)
        state["spectrogram.hann"] = torch.hann_window(architecture["n_fft"])
        # Else every frame of every key would be a note.
        state["scorer.bias"][-1] = -10.0
    else:
        state = device.own_tensors(spec, file, tensors.own)
    compare_tensors(NAME, file or "random", wanted, state)
    network.load_state_dict({name: tensor.to(dtype) for name, tensor in state.items()}, assign=True)
    network.eval().requires_grad_(False)
    network.backbone.fold()
    return network
