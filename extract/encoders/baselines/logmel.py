"""`logmel`: the audio baseline without weights: log-mel spectrum, onset flux and three measures of level and timbre.

Frames have 1024 samples (43 ms, Hann window), one every 480 samples (20 ms); the audio is reflected at its ends.
`frames` holds the mean and standard deviation of each channel per bin; `layers` holds the same over the whole window,
as its single state. Channels:

- `mel_000` … `mel_095`: 96 mel bands (Slaney's scale, area-normalised triangles) from 30 Hz to 12 kHz,
  10·log10(power + 1e-10), in dB;
- `flux_0` … `flux_7`: onset strength in 8 groups of 12 neighbouring bands, the mean rise (≥ 0) of dB from frame to
  frame. Its mean per bin grows with the number and strength of onsets, its standard deviation with their sharpness;
- `rms_db`: level of the frame; `centroid_octaves`: log2 of the spectral centroid over 440 Hz; `flatness_db`: 10·log10
  of geometric over arithmetic mean of the spectrum's power, near 0 for noise, far below for tones.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from keybed.extract.audio.waveform import SAMPLE_RATE_HZ
from keybed.extract.encoders import blas, pooling
from keybed.extract.encoders.audio_check import checked_waveform
from keybed.extract.encoders.base import Clip, Encoder, Pooled, failed_clips
from keybed.store.format.recipe import EncoderSpec

CODE_VERSION = 3
"""3: sums over frequency are one product, and the mean square follows from the spectrum. 2: products are computed on one thread,
whatever the environment says. Between versions last bits differ."""
FRAME_SAMPLES, HOP_SAMPLES = 1024, 480
N_MELS, N_FLUX = 96, 8
LOWEST_HZ, HIGHEST_HZ = 30.0, 12_000.0
POWER_FLOOR = 1e-10

CHANNELS = (
    *(f"mel_{band:03d}" for band in range(N_MELS)),
    *(f"flux_{group}" for group in range(N_FLUX)),
    "rms_db",
    "centroid_octaves",
    "flatness_db",
)


def describe(*, n_bins: int, window_s: float, threads: int) -> EncoderSpec:
    """Spec of `logmel`: one state of 107 channels, mean and sd."""
    return EncoderSpec(
        name="logmel",
        modality="audio",
        source="none",
        revision="",
        weights_sha256="none",
        code_version=CODE_VERSION,
        preprocessing={
            "window_s": window_s,
            "sample_rate_hz": SAMPLE_RATE_HZ,
            "frame_samples": FRAME_SAMPLES,
            "hop_samples": HOP_SAMPLES,
            "n_mels": N_MELS,
            "lowest_hz": LOWEST_HZ,
            "highest_hz": HIGHEST_HZ,
            "power_floor": POWER_FLOOR,
            "pooling_version": pooling.VERSION,
        },
        n_states=1,
        width=len(CHANNELS),
        n_bins=n_bins,
        frame_states=(0,),
        threads=threads,
        channels=CHANNELS,
    )


class LogMel(Encoder):
    """The `logmel` baseline; see the module's docstring."""

    def __init__(self, spec: EncoderSpec) -> None:
        self.spec = spec

    def encode(self, clips: Sequence[Clip | None]) -> Pooled:
        """See Encoder.encode. Raises EncoderError for a clip of another length than the recipe's window."""
        with blas.one_thread():
            return self._encode(clips)

    def _encode(self, clips: Sequence[Clip | None]) -> Pooled:
        spec = self.spec
        layers, frames, mask = pooling.zeros(spec, len(clips))
        mask[:] = True
        for row, clip in enumerate(clips):
            if clip is None:
                continue
            channels = spectral_channels(checked_waveform(spec, clip, row))
            channels = channels.astype(np.float64)
            layers[row, :, 0] = pooling.time_stats(channels)
            bins, share = _bins(len(channels), spec.n_bins, clip.window_s)
            mean = share @ channels
            channels -= mean[bins]  # frames of bin -1 have no share
            frames[row, :, 0], frames[row, :, 1] = mean, np.sqrt(share @ np.square(channels, out=channels))
        return pooling.finish(spec.name, layers, frames, mask, failed_clips(clips))


@cache
def _bins(n_frames: int, n_bins: int, window_s: float) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Bin of each frame, and the matrix, float64 (n_bins, n_frames), that averages each bin's frames."""
    centres = pooling.frame_centres_s(n_frames, HOP_SAMPLES / SAMPLE_RATE_HZ, 0.0)
    bins = pooling.bins_of(centres, n_bins, window_s)
    member = bins[None, :] == np.arange(n_bins)[:, None]
    return bins, member / np.maximum(member.sum(1, keepdims=True), 1)


def reference(spec: EncoderSpec, clip: Clip) -> Pooled:
    """Features of one clip from the same formulas in float64: what `LogMel` is checked against."""
    channels = spectral_channels(checked_waveform(spec, clip, 0).astype(np.float64))
    centres = pooling.frame_centres_s(len(channels), HOP_SAMPLES / SAMPLE_RATE_HZ, 0.0)
    return pooling.pool_row(spec, [channels], pooling.bins_of(centres, spec.n_bins, clip.window_s))


def spectral_channels(audio: NDArray[np.floating]) -> NDArray[np.float32]:
    """All channels of one clip, float32 (1 + samples // 480, 107), computed in the audio's dtype.

    Frame t is centred at sample 480 t.
    """
    padded = _reflected(audio, FRAME_SAMPLES // 2)
    n_frames = 1 + audio.size // HOP_SAMPLES
    windowed = np.lib.stride_tricks.sliding_window_view(padded, FRAME_SAMPLES)[::HOP_SAMPLES][:n_frames] * _window()
    parts = scipy.fft.rfft(windowed, axis=1, workers=1).view(audio.dtype)
    parts *= parts
    power = parts[:, ::2] + parts[:, 1::2]
    power *= np.float32(1 / (_window() ** 2).sum())
    sums = power @ _sums().astype(power.dtype, copy=False)
    power += np.float32(POWER_FLOOR)

    channels = np.empty((n_frames, len(CHANNELS)), power.dtype)
    mel_db, flux = channels[:, :N_MELS], channels[:, N_MELS : N_MELS + N_FLUX]
    mel_db[:] = _decibels(sums[:, :N_MELS])
    flux[0] = 0
    rise = np.maximum(mel_db[1:] - mel_db[:-1], 0)
    flux[1:] = rise @ _flux_groups().astype(power.dtype, copy=False)
    energy, hertz, total = sums[:, N_MELS:].T
    total = total + np.float32(POWER_FLOOR * power.shape[1])
    channels[:, -3] = _decibels(energy)
    channels[:, -2] = np.log2(np.maximum(hertz / total, np.float32(1)) / np.float32(440))
    channels[:, -1] = 10 / np.log(10) * np.log(power).mean(1) - 10 * np.log10(total / power.shape[1])
    return channels.astype(np.float32, copy=False)


def _reflected(audio: NDArray[np.floating], n: int) -> NDArray[np.floating]:
    """As np.pad with n samples at both ends, in a quarter of its time."""
    if audio.size <= n:
        return np.pad(audio, n, mode="reflect")
    return np.concatenate([audio[n:0:-1], audio, audio[-2 : -2 - n : -1]])


def _decibels(power: NDArray[np.floating]) -> NDArray[np.floating]:
    return np.asarray(10 * np.log10(power + np.float32(POWER_FLOOR)))


@cache
def _sums() -> NDArray[np.float32]:
    """Weights, float32 (513, 99), of all sums over a frame's power: mel bands, mean square (Parseval), power times Hz, total."""
    twice = np.full(FRAME_SAMPLES // 2 + 1, 2 / FRAME_SAMPLES, np.float32)
    twice[[0, -1]] /= 2
    return np.column_stack([mel_filters().T, twice, _bin_hz(), np.ones_like(twice)])


@cache
def _flux_groups() -> NDArray[np.float32]:
    """Averages 12 neighbouring bands, float32 (96, 8)."""
    return np.repeat(np.eye(N_FLUX, dtype=np.float32), N_MELS // N_FLUX, axis=0) * np.float32(N_FLUX / N_MELS)


@cache
def mel_filters() -> NDArray[np.float32]:
    """Slaney's mel filter bank, float32 (96, 513): linear below 1 kHz, logarithmic above, triangles of area 1.

    M. Slaney, "Auditory Toolbox", 1998; the same numbers as librosa.filters.mel with its defaults.
    """
    edges_mel = np.linspace(_hz_to_mel(LOWEST_HZ), _hz_to_mel(HIGHEST_HZ), N_MELS + 2)
    log_step = np.log(6.4) / 27
    edges_hz = np.where(edges_mel < 15, edges_mel * 200 / 3, 1000 * np.exp(log_step * (edges_mel - 15)))
    low, centre, high = edges_hz[:-2, None], edges_hz[1:-1, None], edges_hz[2:, None]
    hz = _bin_hz().astype(np.float64)
    triangles = np.maximum(0, np.minimum((hz - low) / (centre - low), (high - hz) / (high - centre)))
    return (triangles * 2 / (high - low)).astype(np.float32)


def _hz_to_mel(hz: float) -> float:
    return hz * 3 / 200 if hz < 1000 else 15 + np.log(hz / 1000) * 27 / np.log(6.4)


@cache
def _bin_hz() -> NDArray[np.float32]:
    return (np.arange(FRAME_SAMPLES // 2 + 1) * SAMPLE_RATE_HZ / FRAME_SAMPLES).astype(np.float32)


@cache
def _window() -> NDArray[np.float32]:
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FRAME_SAMPLES) / FRAME_SAMPLES)).astype(np.float32)
