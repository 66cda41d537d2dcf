"""MuQ's log-mel spectrogram: torchaudio's MelSpectrogram with its defaults, computed by torch alone.

Power spectra of 2048 samples (periodic Hann window), one every 240 samples, the audio reflected at its ends; 128 HTK mel
bands from 0 to 12 kHz without area normalisation; 10·log10(max(power, 1e-10)); minus one constant, over another. The
waveform is not normalised, so its level changes the result.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from keybed.extract.audio.waveform import SAMPLE_RATE_HZ
from keybed.extract.encoders.errors import EncoderError
from keybed.extract.encoders.muq.spec import N_FFT, NAME, POWER_FLOOR


class LogMel(nn.Module):
    """Waveforms (B, samples) to log-mel spectrograms (B, mels, frames), always in float32."""

    def __init__(self, architecture: dict[str, Any]) -> None:
        super().__init__()
        self.hop, self.mean, self.std = (architecture[key] for key in ("hop_length", "mel_mean", "mel_std"))
        # Plain tensors and not buffers, so that converting the model to another dtype leaves them in float32.
        self.window = torch.hann_window(N_FFT)
        self.filters_FxM = mel_filters(architecture["n_mels"])

    def forward(self, waveforms_BxS: Tensor) -> Tensor:
        """See the class. Raises EncoderError for clips that are too short to be reflected at their ends."""
        if waveforms_BxS.shape[1] <= N_FFT // 2:
            raise EncoderError(
                f"{NAME}: a clip of {waveforms_BxS.shape[1]} samples; it needs more than {N_FFT // 2} "
                f"({1000 * N_FFT / 2 / SAMPLE_RATE_HZ:.0f} ms)"
            )
        self.window, self.filters_FxM = (t.to(waveforms_BxS.device) for t in (self.window, self.filters_FxM))
        padded_BxS = F.pad(waveforms_BxS[:, None], (N_FFT // 2, N_FFT // 2), mode="reflect")[:, 0]
        # As in the authors' code, the last frame (centred on the clip's end) is left out.
        frames_BxTxN = padded_BxS.unfold(1, N_FFT, self.hop)[:, :-1] * self.window
        # In float64: in bands far below the loudest one, a float32 FFT gives its own rounding error. It differs between
        # processors, by up to 5e-5 (0.001 dB) in the authors' golden file, and as much in the hidden states.
        power_BxTxF = torch.fft.rfft(frames_BxTxN.double()).abs().square().float()
        decibel_BxTxM = 10 * torch.log10((power_BxTxF @ self.filters_FxM).clamp_min(POWER_FLOOR))
        return (decibel_BxTxM.transpose(1, 2) - self.mean) / self.std


def mel_filters(n_mels: int) -> Tensor:
    """HTK's mel filter bank, float32 (1025, n_mels): triangles of height 1, even in 2595·log10(1 + f / 700).

    Computed in float32 as in torchaudio; computed in float64 they differ by 1e-5 and MuQ's states by more.
    """
    hz_F = torch.linspace(0, SAMPLE_RATE_HZ // 2, N_FFT // 2 + 1)
    top_mel = 2595.0 * torch.log10(torch.tensor(1.0 + SAMPLE_RATE_HZ / 2 / 700.0, dtype=torch.float64)).item()
    edges_mel = torch.linspace(0.0, top_mel, n_mels + 2)
    edges_hz = 700.0 * (10.0 ** (edges_mel / 2595.0) - 1.0)
    width_hz = edges_hz[1:] - edges_hz[:-1]
    slope_FxE = edges_hz[None, :] - hz_F[:, None]
    falling, rising = -slope_FxE[:, :-2] / width_hz[:-1], slope_FxE[:, 2:] / width_hz[1:]
    return torch.minimum(falling, rising).clamp_min(0)
