"""MERT on torch: loaded into transformers' Hubert, run state by state, pooled as it goes so that no state is kept.

The layers are transformers' own modules. Before them, the convolutions are computed as matrix products on a
(time, channel) layout, which oneDNN and cuBLAS run at about twice the rate of narrow 1-d convolutions, and the first
group norm, which follows a linear map of ten samples, is folded into that map from the clip's own 10 × 10 covariance.
Both are the same arithmetic in another order; `tests` hold every state to transformers' and the authors' numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from extract.encoders import device, pooling
from extract.encoders.base import SAMPLE_RATE_HZ, Clip, Encoder, Pooled
from extract.encoders.errors import EncoderError, WeightsRefused
from extract.encoders.mert import NAME, RANDOM_SEED, frame_geometry, n_frames
from store.schema import EncoderSpec

CPU_BATCH_ROWS, GPU_BATCH_ROWS = 4, 64
"""Fixed: a batch's last rows are blank clips where the shard has no more."""
GPU_CONVOLUTION_ROWS = 16
VARIANCE_FLOOR = 1e-7
"""Wav2Vec2FeatureExtractor's, added to a clip's variance before its root is taken."""


class Mert(Encoder):
    """See the module's description."""

    def __init__(self, spec: EncoderSpec, file: Path | None) -> None:
        self.spec = spec
        self._device, self._dtype = device.prepare(spec)
        architecture = spec.preprocessing["architecture"]
        self._n_samples = round(spec.preprocessing["window_s"] * SAMPLE_RATE_HZ)
        self._model = MertStates(load_hubert(spec, file), architecture).to(self._device, self._dtype).eval()
        hop, receptive = frame_geometry(architecture)
        centres = pooling.frame_centres_s(
            n_frames(architecture, self._n_samples), hop / SAMPLE_RATE_HZ, receptive / SAMPLE_RATE_HZ
        )
        bins = pooling.bins_of(centres, spec.n_bins, spec.preprocessing["window_s"])
        if len(np.unique(bins[bins >= 0])) < spec.n_bins:
            raise EncoderError(
                f"{NAME}: {spec.n_bins} bins of a {spec.preprocessing['window_s']} s window are more than "
                f"its {len(bins)} frames fill"
            )
        self._averaging = torch.from_numpy(pooling.averaging_matrix(bins, spec.n_bins)).to(self._device)
        self._batch_rows = CPU_BATCH_ROWS if self._device.type == "cpu" else GPU_BATCH_ROWS

    def encode(self, clips: Sequence[Clip | None]) -> Pooled:
        """See Encoder.encode. Raises EncoderError for a clip of another length than the recipe's window."""
        spec, n_rows = self.spec, len(clips)
        layers = np.zeros((n_rows, 2, spec.n_states, spec.width), np.float32)
        frames = np.zeros((n_rows, spec.n_bins, 2, spec.width), np.float32)
        for start in range(0, n_rows, self._batch_rows):
            part = clips[start : start + self._batch_rows]
            rows = slice(start, start + len(part))
            pooled_layers, pooled_frames = self._encode_batch(self._waveforms(part, start))
            layers[rows] = pooled_layers[: len(part)].cpu().numpy()
            frames[rows] = pooled_frames[: len(part)].cpu().numpy()
        mask = np.ones((n_rows, spec.n_bins), np.bool_)
        return pooling.finish(NAME, layers, frames, mask, np.array([clip is None for clip in clips], np.bool_))

    def _waveforms(self, clips: Sequence[Clip | None], first_row: int) -> Tensor:
        waveforms_BxS = np.zeros((self._batch_rows, self._n_samples), np.float32)
        for index, clip in enumerate(clips):
            if clip is None:
                continue
            if clip.audio.shape != (self._n_samples,):
                raise EncoderError(
                    f"{NAME}: the clip of row {first_row + index} of this shard has shape {clip.audio.shape}, the "
                    f"recipe's window is {self._n_samples} mono samples at {SAMPLE_RATE_HZ} Hz"
                )
            waveforms_BxS[index] = normalise(clip.audio) if self.spec.preprocessing["do_normalize"] else clip.audio
        return torch.from_numpy(waveforms_BxS).to(self._device)

    def _encode_batch(self, waveforms_BxS: Tensor) -> tuple[Tensor, Tensor]:
        """Layers (B, 2, state, D) and frames (B, n_bins, 2, D), float32."""
        layer_stats: list[Tensor] = []
        chosen: Tensor | None = None
        with torch.inference_mode():
            for index, state in enumerate(self._model(waveforms_BxS)):
                state_BxTxD = state.float()
                mean_Bx1xD = state_BxTxD.mean(1, keepdim=True)
                sd_Bx1xD = (state_BxTxD - mean_Bx1xD).square_().mean(1, keepdim=True).sqrt_()
                layer_stats.append(torch.cat([mean_Bx1xD, sd_Bx1xD], dim=1))
                if index in self.spec.frame_states:
                    chosen = state_BxTxD if chosen is None else chosen + state_BxTxD
            assert chosen is not None
            frames = device.pool_bins(chosen / len(self.spec.frame_states), self._averaging)
            return torch.stack(layer_stats, dim=2), frames


def normalise(audio: NDArray[np.float32]) -> NDArray[np.float32]:
    """Zero mean and unit variance of one clip, as Wav2Vec2FeatureExtractor does for do_normalize."""
    normalised: NDArray[np.float32] = (audio - np.mean(audio)) / np.sqrt(np.var(audio) + VARIANCE_FLOOR)
    return normalised


def load_hubert(spec: EncoderSpec, file: Path | None) -> nn.Module:
    """transformers' HubertModel with the checkpoint's tensors, every one accounted for, or with seeded noise."""
    from transformers import HubertConfig, HubertModel

    config = HubertConfig(**spec.preprocessing["architecture"], mask_time_prob=0.0, mask_feature_prob=0.0)
    with torch.device("meta"):
        model = HubertModel._from_config(config, attn_implementation="sdpa")
    wanted = model.state_dict()
    if file is None:
        state = device.draw(wanted, RANDOM_SEED)
        norm = f"{_POSITION}.parametrizations.weight."
        state[norm + "original0"] = state[norm + "original1"].norm(dim=(0, 1), keepdim=True)
    else:
        state = _modern_names(spec, file)
        device.compare_tensors(NAME, file, wanted, state)
    model.load_state_dict({name: tensor.float() for name, tensor in state.items()}, assign=True)
    return model.requires_grad_(False)


_POSITION = "encoder.pos_conv_embed.conv"


def _modern_names(spec: EncoderSpec, file: Path) -> dict[str, Tensor]:
    found = device.read_checkpoint(spec, file)
    if not all(isinstance(value, Tensor) for value in found.values()):
        raise WeightsRefused(f"{NAME}: {file} is not a plain dictionary of tensors as the hub's checkpoints are")
    state: dict[str, Any] = {name.removeprefix("hubert."): tensor for name, tensor in found.items()}
    # SpecAugment's vector belongs to training alone.
    state.pop("masked_spec_embed", None)
    for legacy, modern in (("weight_g", "original0"), ("weight_v", "original1")):
        if f"{_POSITION}.{legacy}" in state:
            state[f"{_POSITION}.parametrizations.weight.{modern}"] = state.pop(f"{_POSITION}.{legacy}")
    return state


class MertStates(nn.Module):
    """Waveforms (B, samples) float32 in, hidden states (B, T, D) out one after the other, first to last."""

    def __init__(self, hubert: Any, architecture: dict[str, Any]) -> None:
        super().__init__()
        self.convolutions = Convolutions(hubert.feature_extractor, architecture)
        self.projection = hubert.feature_projection
        self.position = hubert.encoder.pos_conv_embed
        # The weight norm is computed once, not at every call.
        nn.utils.parametrize.remove_parametrizations(self.position.conv, "weight")
        self.layers = hubert.encoder.layers
        self.norm = hubert.encoder.layer_norm
        self.pre_norm = bool(architecture["do_stable_layer_norm"])

    def forward(self, waveforms_BxS: Tensor) -> Iterator[Tensor]:
        """Yields n_layers + 1 states; in pre-norm models the last is after the final norm, as the authors'."""
        state = self.projection(self.convolutions(waveforms_BxS))
        state = state + self.position(state)
        if not self.pre_norm:
            state = self.norm(state)
        for layer in self.layers:
            yield state
            state = layer(state)
            # transformers 4 returns (state,), transformers 5 the state.
            state = state[0] if isinstance(state, tuple) else state
        yield self.norm(state) if self.pre_norm else state


class Convolutions(nn.Module):
    """The seven convolutions: waveforms (B, samples) float32 to (B, T, 512), a few clips at a time.

    A part's clips stand in one long (time, channel) matrix, each padded to a length that every stride divides, so that
    all taps of a stage are views of it. The rows of padding at a clip's end reach into the next clip; they are never
    read by a row that is kept.
    """

    def __init__(self, extractor: Any, architecture: dict[str, Any]) -> None:
        super().__init__()
        self.stride, self.kernel = architecture["conv_stride"], architecture["conv_kernel"]
        self.architecture = architecture
        first = extractor.conv_layers[0]
        # These three leave the float32 of the checkpoint only once they are folded into one weight a clip.
        self.first = {
            "weight": first.conv.weight[:, 0],
            "scale": first.layer_norm.weight,
            "shift": first.layer_norm.bias,
        }
        self.first_eps = first.layer_norm.eps
        self.heads, self.tails = nn.ParameterList(), nn.ParameterList()
        for layer, stride in zip(list(extractor.conv_layers)[1:], self.stride[1:], strict=True):
            weight_OxKxC = layer.conv.weight.transpose(1, 2)
            self.heads.append(nn.Parameter(weight_OxKxC[:, :stride].flatten(1).clone(), requires_grad=False))
            self.tails.append(nn.Parameter(weight_OxKxC[:, stride:].flatten(1).clone(), requires_grad=False))

    def forward(self, waveforms_BxS: Tensor) -> Tensor:
        """See the class."""
        rows = 1 if waveforms_BxS.device.type == "cpu" else GPU_CONVOLUTION_ROWS
        return torch.cat([self._stack(part) for part in waveforms_BxS.split(rows)])

    def _stack(self, waveforms_BxS: Tensor) -> Tensor:
        n_clips, n_samples = waveforms_BxS.shape
        state_NxC = torch.ops.aten.gelu_(self._first(waveforms_BxS))
        for head, tail, stride in zip(self.heads, self.tails, self.stride[1:], strict=True):
            state_NxC = torch.ops.aten.gelu_(strided_convolution(state_NxC, head, tail, stride))
        return state_NxC.view(n_clips, -1, state_NxC.shape[1])[:, : n_frames(self.architecture, n_samples)]

    def _first(self, waveforms_BxS: Tensor) -> Tensor:
        """Convolution and group norm (one group a channel, over the whole clip) as one product a clip, (B · rows, 512)."""
        n_clips, n_samples = waveforms_BxS.shape
        kernel, stride = self.kernel[0], self.stride[0]
        divisor = math.prod(self.stride[1:])
        n_valid = (n_samples - kernel) // stride + 1
        n_rows = -(-n_valid // divisor) * divisor
        padded = F.pad(waveforms_BxS, (0, max((n_rows - 1) * stride + kernel - n_samples, 0)))
        patches_BxTxK = padded.unfold(1, kernel, stride)[:, :n_rows]
        centred = patches_BxTxK - patches_BxTxK[:, :n_valid].mean(1, keepdim=True)
        valid = centred[:, :n_valid]
        covariance_BxKxK = valid.transpose(1, 2) @ valid / n_valid
        weight_OxK = self.first["weight"].to(padded)
        variance_BxO = ((weight_OxK @ covariance_BxKxK) * weight_OxK).sum(2)
        scale_BxO = self.first["scale"].to(padded) * torch.rsqrt(variance_BxO.clamp_min(0) + self.first_eps)
        folded_BxKxO = (weight_OxK * scale_BxO[:, :, None]).transpose(1, 2)
        shift_Bx1xO = self.first["shift"].to(padded).expand(n_clips, 1, -1)
        ones_BxTx1 = torch.ones_like(centred[:, :, :1])
        # The shift is one more tap, on a constant 1.
        taps_BxTxK = torch.cat([centred, ones_BxTx1], dim=2)
        taps_BxKxO = torch.cat([folded_BxKxO, shift_Bx1xO], dim=1)
        dtype = self.heads[0].dtype
        if dtype != torch.float32:
            # Each factor as a sum of two bfloat16: ten samples are few, and what is lost here is lost everywhere after.
            coarse, coarse_weight = taps_BxTxK.to(dtype), taps_BxKxO.to(dtype)
            fine, fine_weight = (taps_BxTxK - coarse).to(dtype), (taps_BxKxO - coarse_weight).to(dtype)
            taps_BxTxK = torch.cat([coarse, fine, coarse], dim=2)
            taps_BxKxO = torch.cat([coarse_weight, coarse_weight, fine_weight], dim=1)
        return (taps_BxTxK @ taps_BxKxO).flatten(0, 1)


def strided_convolution(state_NxC: Tensor, head: Tensor, tail: Tensor, stride: int) -> Tensor:
    """1-d convolution of a long (N, C) state, N a multiple of the stride, to (N / stride, O).

    head: (O, stride · C), the taps that a view of `stride` rows holds. tail: (O, (kernel − stride) · C), those beyond.
    The last row lacks its tail.
    """
    n_channels = state_NxC.shape[1]
    out = F.linear(state_NxC.view(-1, stride * n_channels), head)
    for tap in range(tail.shape[1] // n_channels):
        weight_CxO = tail[:, tap * n_channels : (tap + 1) * n_channels].T
        out[:-1].addmm_(state_NxC[stride + tap :: stride], weight_CxO)
    return out
