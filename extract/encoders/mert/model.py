"""MERT in torch: transformers' Hubert, run layer by layer. Each state is pooled at once and then dropped.

The layers are transformers' modules. The convolutions before them are computed as matrix products on a (time, channel)
layout (`mert/convolutions.py`), which oneDNN and cuBLAS run at about twice the rate of narrow 1-d convolutions. On a GPU
each layer and its pooling are compiled, and copies overlap with computation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from keybed.extract.audio.waveform import SAMPLE_RATE_HZ
from keybed.extract.encoders import pooling
from keybed.extract.encoders.base import Clip, Encoder, Pooled
from keybed.extract.encoders.checkpoint import compare_tensors
from keybed.extract.encoders.mert import tensors
from keybed.extract.encoders.mert.convolutions import (
    CPU_POSITION_BLOCK,
    GPU_POSITION_BLOCK,
    BlockedPosition,
    Convolutions,
)
from keybed.extract.encoders.mert.spec import NAME, RANDOM_SEED, frame_geometry, n_frames
from keybed.extract.encoders.torch import device
from keybed.extract.encoders.torch.compiling import compiled
from keybed.extract.encoders.torch.graph import Recorded
from keybed.extract.encoders.torch.transfer import Transfer
from keybed.extract.encoders.torch.waveforms import add, averaging_over_bins, moments, pool_states, pool_waveforms
from keybed.store.format.recipe import EncoderSpec

CPU_BATCH_ROWS, GPU_BATCH_ROWS = 4, 64
"""Rows per batch, fixed: the last batch of a shard is filled up with blank clips."""
VARIANCE_FLOOR = 1e-7
"""Added to a clip's variance before the square root, as in Wav2Vec2FeatureExtractor."""


def run_layer(layer: nn.Module, state_BxTxD: Tensor) -> Tensor:
    """Apply one of transformers' layers. transformers 4 returns (state,), transformers 5 the state."""
    after = layer(state_BxTxD)
    return after[0] if isinstance(after, tuple) else after


class Steps(NamedTuple):
    """The functions that a batch calls: as written above, or compiled."""

    layer: Callable[[nn.Module, Tensor], Tensor] = run_layer
    moments: Callable[[Tensor], Tensor] = moments
    add: Callable[[Tensor, Tensor], Tensor] = add
    convolve: Callable[[Tensor], Tensor] | None = None
    """The convolutional front end in fused kernels; None: `Convolutions` as written."""


class Mert(Encoder):
    """MERT; see the module's docstring. batch_rows, compile: None for the default of this device; benchmarks vary them."""

    def __init__(
        self, spec: EncoderSpec, file: Path | None, *, batch_rows: int | None = None, compile: bool | None = None
    ) -> None:
        self.spec = spec
        self._device, self._dtype = device.prepare(spec)
        on_gpu = self._device.type == "cuda"
        architecture = spec.preprocessing["architecture"]
        self._n_samples = round(spec.preprocessing["window_s"] * SAMPLE_RATE_HZ)
        position_block = GPU_POSITION_BLOCK if on_gpu else CPU_POSITION_BLOCK
        model = MertStates(load_hubert(spec, file), architecture, position_block)
        self._model = model.to(self._device, self._dtype).eval()
        hop, receptive = frame_geometry(architecture)
        centres = pooling.frame_centres_s(
            n_frames(architecture, self._n_samples), hop / SAMPLE_RATE_HZ, receptive / SAMPLE_RATE_HZ
        )
        self._averaging = averaging_over_bins(spec, centres).to(self._device)
        self._batch_rows = batch_rows or (GPU_BATCH_ROWS if on_gpu else CPU_BATCH_ROWS)
        self._transfer = Transfer(self._device, (self._batch_rows, self._n_samples))
        # On a GPU, because normalising on one core takes about as long as the whole model on the GPU.
        self._normalise, self._normalise_on_device = spec.preprocessing["do_normalize"], on_gpu
        self._steps = Steps()
        self._recorded: Recorded | None = None
        if on_gpu if compile is None else compile:
            self.compile()

    def compile(self, backend: str | Callable[..., Any] = "inductor") -> None:
        """Compile the functions of `Steps` for the one shape of a batch; where that fails, warn and keep them as written."""
        waveforms_BxS = torch.zeros(self._batch_rows, self._n_samples, device=self._device)

        written = self._model.layers
        on_gpu = self._device.type == "cuda"

        def rehearse(steps: Sequence[Callable[..., Tensor]]) -> Steps:
            layer, pooled, added = steps
            chosen = Steps(layer, pooled, added, self._fuse() if on_gpu else None)
            self._encode_batch(waveforms_BxS, chosen)
            return chosen

        faster = compiled(NAME, Steps()[:3], rehearse, backend)
        if faster is None:
            self._model.layers = written
            return
        self._steps, self.execution = faster, "compiled"
        if on_gpu and backend == "inductor":
            self._recorded = Recorded(partial(self._encode_batch, steps=faster), waveforms_BxS)

    def _fuse(self) -> Callable[[Tensor], Tensor] | None:
        """Fuse layers and return the fused front end, where the dtype, this GPU and the layers' widths allow it."""
        if self._dtype != torch.bfloat16:
            return None
        # It needs Triton, which torch's CPU builds lack.
        from keybed.extract.encoders.mert import fused

        if not fused.can_fuse(self.spec.preprocessing["architecture"]):
            return None
        self._model.layers = fused.fused_layers(self._model.layers)
        return fused.FusedConvolutions(self._model.convolutions)

    def encode(self, clips: Sequence[Clip | None]) -> Pooled:
        """See Encoder.encode. Raises EncoderError for a clip of another length than the recipe's window."""
        prepare = normalise if self._normalise and not self._normalise_on_device else None
        encode_batch = self._recorded or partial(self._encode_batch, steps=self._steps)
        return pool_waveforms(self.spec, clips, self._transfer, encode_batch, prepare)

    def _encode_batch(self, waveforms_BxS: Tensor, steps: Steps) -> tuple[Tensor, Tensor]:
        """Layers (B, 2, state, D) and frames (B, n_bins, 2, D), float32."""
        with torch.inference_mode():
            if self._normalise and self._normalise_on_device:
                waveforms_BxS = normalise_rows(waveforms_BxS)
            states = self._model(waveforms_BxS, steps.layer, steps.convolve)
            return pool_states(states, self.spec.frame_states, self._averaging, moments=steps.moments, add=steps.add)


def normalise(audio: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale one clip to zero mean and unit variance, as Wav2Vec2FeatureExtractor does for do_normalize."""
    normalised: NDArray[np.float32] = (audio - np.mean(audio)) / np.sqrt(np.var(audio) + VARIANCE_FLOOR)
    return normalised


def normalise_rows(waveforms_BxS: Tensor) -> Tensor:
    """`normalise` for every row of a tensor, on its device."""
    centred_BxS = waveforms_BxS - waveforms_BxS.mean(1, keepdim=True)
    return centred_BxS / (centred_BxS.square().mean(1, keepdim=True) + VARIANCE_FLOOR).sqrt()


def load_hubert(spec: EncoderSpec, file: Path | None) -> nn.Module:
    """transformers' HubertModel with the tensors of a checkpoint, or with random weights where file is None.

    Raises WeightsRefused with the name of every tensor that is missing, unexpected or of another shape.
    """
    from transformers import HubertConfig, HubertModel

    config = HubertConfig(**spec.preprocessing["architecture"], mask_time_prob=0.0, mask_feature_prob=0.0)
    with torch.device("meta"):
        model = HubertModel._from_config(config, attn_implementation="sdpa")
    wanted = model.state_dict()
    if file is None:
        state = device.draw(wanted, RANDOM_SEED)
        state[tensors.NORM] = _norm_per_tap(state[tensors.DIRECTION])
    else:
        state = device.own_tensors(spec, file, tensors.own)
        compare_tensors(NAME, file, tensors.shapes(spec.preprocessing["architecture"], state), state)
        if tensors.FOLDED in state:
            state[tensors.DIRECTION] = state.pop(tensors.FOLDED).float()
            state[tensors.NORM] = _norm_per_tap(state[tensors.DIRECTION])
    model.load_state_dict({name: tensor.float() for name, tensor in state.items()}, assign=True)
    return model.requires_grad_(False)


def _norm_per_tap(weight_OxCxK: Tensor) -> Tensor:
    return weight_OxCxK.norm(dim=(0, 1), keepdim=True)


class MertStates(nn.Module):
    """Waveforms (B, samples) float32 in, hidden states (B, T, D) out, one after the other, first to last."""

    def __init__(self, hubert: Any, architecture: dict[str, Any], position_block: int = CPU_POSITION_BLOCK) -> None:
        super().__init__()
        self.convolutions = Convolutions(hubert.feature_extractor, architecture)
        self.projection = hubert.feature_projection
        position = hubert.encoder.pos_conv_embed
        # Compute the weight norm once and not at every call.
        nn.utils.parametrize.remove_parametrizations(position.conv, "weight")
        self.position = BlockedPosition(position, position_block)
        self.layers = hubert.encoder.layers
        self.norm = hubert.encoder.layer_norm
        self.pre_norm = bool(architecture["do_stable_layer_norm"])

    def forward(
        self,
        waveforms_BxS: Tensor,
        run: Callable[[nn.Module, Tensor], Tensor] = run_layer,
        convolve: Callable[[Tensor], Tensor] | None = None,
    ) -> Iterator[Tensor]:
        """Yield n_layers + 1 states. In pre-norm models the last one is after the final norm, as in the authors' code."""
        state = self.projection((convolve or self.convolutions)(waveforms_BxS))
        state = state + self.position(state)
        if not self.pre_norm:
            state = self.norm(state)
        for layer in self.layers:
            yield state
            state = run(layer, state)
        yield self.norm(state) if self.pre_norm else state
