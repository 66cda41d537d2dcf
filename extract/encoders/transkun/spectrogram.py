"""Transkun's input: power spectra through six windows, in log-mel bands. The gain of the audio does not matter.

Frames of 4096 samples at 44.1 kHz, one every 1024, zeros before and after. One window is Hann's, five are Gaussian windows
whose centres and widths were trained. The level is divided out: the samples of all frames have mean 0 and sd 1.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from keybed.extract.encoders.transkun.spec import n_frames

POWER_FLOOR = 1e-5
SD_FLOOR = 1e-8


class LogMel(nn.Module):
    """Waveforms (B, samples) of the whole context to (B, windows, frames, mels). rows_at_once: clips per step."""

    def __init__(self, architecture: dict[str, Any], rows_at_once: int = 1) -> None:
        super().__init__()
        self.n_fft, self.hop, self.n_frames = architecture["n_fft"], architecture["hop_length"], n_frames(architecture)
        self.rows_at_once = rows_at_once
        self.filters = nn.Parameter(torch.empty(self.n_fft // 2 + 1, architecture["n_mels"]))
        self.hann = nn.Parameter(torch.empty(self.n_fft))
        self.sigma = nn.Parameter(torch.empty(architecture["n_extra_windows"]))
        self.center = nn.Parameter(torch.empty(architecture["n_extra_windows"]))

    def forward(self, waveforms_BxS: Tensor) -> Tensor:
        """See the class."""
        windows = self.windows()
        return torch.cat([self.through(windows, part) for part in waveforms_BxS.split(self.rows_at_once)])

    def through(self, windows_WxN: Tensor, waveforms_BxS: Tensor) -> Tensor:
        """Log-mel bands through these windows, (B, W, frames, mels)."""
        frames_BxTxN = self._normalised(waveforms_BxS.to(self.hann.dtype)).unfold(1, self.n_fft, self.hop)
        power_BxWxTxF = torch.stack([_power(frames_BxTxN * window_N) for window_N in windows_WxN], dim=1)
        floor = math.log(POWER_FLOOR)
        return (torch.log(power_BxWxTxF @ self.filters + POWER_FLOOR) - floor) / -floor

    def windows(self) -> Tensor:
        """Hann's window and the trained ones, (W, n_fft)."""
        steps = torch.arange(self.n_fft, device=self.hann.device)
        centre_Wx1, width_Wx1 = torch.sigmoid(self.center)[:, None], torch.sigmoid(self.sigma)[:, None]
        distance = (steps - self.n_fft * centre_Wx1) / (width_Wx1 * self.n_fft / 2)
        return torch.cat([self.hann[None], torch.exp(-0.5 * distance.square())])

    def _normalised(self, waveforms_BxS: Tensor) -> Tensor:
        """Padded to whole frames, minus the mean over the sd of the samples of all frames; overlapping ones count anew."""
        n_padded = (self.n_frames - 1) * self.hop + self.n_fft
        before = self.n_fft // 2
        padded_BxS = F.pad(waveforms_BxS, (before, n_padded - before - waveforms_BxS.shape[1]))
        n_times_S = torch.zeros(n_padded, dtype=torch.float64, device=padded_BxS.device)
        for start in range(0, self.n_frames * self.hop, self.hop):
            n_times_S[start : start + self.n_fft] += 1
        n_values = self.n_frames * self.n_fft
        wide_BxS = padded_BxS.double()
        mean_Bx1 = (wide_BxS * n_times_S).sum(1, keepdim=True) / n_values
        centred_BxS = wide_BxS - mean_Bx1
        sd_Bx1 = ((centred_BxS.square() * n_times_S).sum(1, keepdim=True) / (n_values - 1)).sqrt()
        return (centred_BxS / (sd_Bx1 + SD_FLOOR)).to(padded_BxS.dtype)


def _power(frames_BxTxN: Tensor) -> Tensor:
    spectra_BxTxF = torch.fft.rfft(frames_BxTxN, norm="ortho")
    return spectra_BxTxF.real.square() + spectra_BxTxF.imag.square()


def mel_filters(architecture: dict[str, Any]) -> Tensor:
    """HTK's mel filter bank, (n_fft / 2 + 1, n_mels): what the published checkpoint holds; random weights take this one."""
    hz_F = torch.linspace(0, architecture["rate_hz"] // 2, architecture["n_fft"] // 2 + 1)
    lowest, highest = (2595 * math.log10(1 + architecture[f"f_{end}_hz"] / 700) for end in ("min", "max"))
    edges_hz = 700 * (10 ** (torch.linspace(lowest, highest, architecture["n_mels"] + 2) / 2595) - 1)
    width_hz = edges_hz[1:] - edges_hz[:-1]
    slope_FxE = edges_hz[None, :] - hz_F[:, None]
    return torch.minimum(-slope_FxE[:, :-2] / width_hz[:-1], slope_FxE[:, 2:] / width_hz[1:]).clamp_min(0)
