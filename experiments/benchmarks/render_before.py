"""Earlier ways to make a row, for `bench_render`: beats frame by frame, filtered noise, logmel step by step, fewer channels."""

from __future__ import annotations

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy.signal import butter, sosfilt

from keybed.extract.audio.waveform import SAMPLE_RATE_HZ
from keybed.extract.degrade import tone
from keybed.extract.degrade.row_key import generator_of
from keybed.extract.degrade.tone import Noise
from keybed.extract.encoders import pooling
from keybed.extract.encoders.baselines import logmel, note_features
from keybed.extract.music import beats
from keybed.extract.music.performance import Performance


def best_paths(strength: NDArray[np.float64], period: float) -> list[NDArray[np.int64]]:
    """As `beats._best_paths`, frame by frame."""
    return [_best_path(strength, period, tightness) for tightness in (beats.TIGHTNESS, beats.SECOND_TIGHTNESS)]


def _best_path(strength: NDArray[np.float64], period: float, tightness: float) -> NDArray[np.int64]:
    back = np.arange(round(0.5 * period), round(2.0 * period) + 1)
    cost = tightness * np.log(back / period) ** 2
    score, came_from = strength.copy(), np.full(strength.size, -1)
    for t in range(back[0], strength.size):
        reach = back[: np.searchsorted(back, t, side="right")]
        options = score[t - reach] - cost[: reach.size]
        best = int(np.argmax(options))
        if options[best] > 0:
            score[t] += options[best]
            came_from[t] = t - reach[best]
    tail = max(strength.size - back[-1], 0)
    t = tail + int(np.argmax(score[tail:]))
    path = []
    while t >= 0:
        path.append(t)
        t = int(came_from[t])
    return np.array(path[::-1], np.int64)


def add_noise(audio: NDArray[np.float64], lead: int, noise: Noise, sample_rate_hz: int) -> NDArray[np.float64]:
    """As `tone.add_noise`, from normal draws that are filtered."""
    if noise.band_hz is not None:
        sos = butter(tone.BAND_ORDER, noise.band_hz, "bandpass", fs=sample_rate_hz, output="sos")
        audio = np.asarray(sosfilt(sos, audio))
    window = audio[lead:]
    rms = np.sqrt(np.mean(window**2))
    sound = window
    parts = [(noise.ratio, noise.slope_db_per_octave, noise.key)]
    if noise.floor is not None:
        parts.append((noise.floor.ratio, noise.floor.slope_db_per_octave, noise.floor.key))
    for ratio, slope, key in parts:
        if ratio > 0.0:
            sound = sound + ratio * rms * _filtered(window.size, slope, sample_rate_hz, generator_of(key))
    return np.asarray(sound)


def _filtered(n: int, slope: float, sample_rate_hz: int, rng: np.random.Generator) -> NDArray[np.float32]:
    noise = rng.standard_normal(n, dtype=np.float32)
    if slope != 0.0:
        frequency = np.maximum(scipy.fft.rfftfreq(n, 1 / sample_rate_hz), tone.COLOUR_CORNER_HZ)
        gain = ((frequency / tone.COLOUR_CORNER_HZ) ** (slope / (20 * np.log10(2)))).astype(np.float32)
        noise = scipy.fft.irfft(scipy.fft.rfft(noise) * gain, n)
    return np.asarray(noise / np.sqrt(np.mean(noise**2, dtype=np.float64)), np.float32)


def logmel_features(audio: NDArray[np.float32], n_bins: int, window_s: float) -> None:
    """As `LogMel.encode` of one clip, with a product for each sum."""
    channels = _spectral_channels(audio)
    hop_s = logmel.HOP_SAMPLES / SAMPLE_RATE_HZ
    bins = pooling.bins_of(pooling.frame_centres_s(len(channels), hop_s, 0.0), n_bins, window_s)
    pooling.time_stats(channels)
    pooling.bin_stats(channels, bins, n_bins)


def _spectral_channels(audio: NDArray[np.float32]) -> NDArray[np.float32]:
    half, n_frames = logmel.FRAME_SAMPLES // 2, 1 + audio.size // logmel.HOP_SAMPLES
    window = logmel._window()
    padded = np.pad(audio, half, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, logmel.FRAME_SAMPLES)[:: logmel.HOP_SAMPLES]
    windowed = frames[:n_frames] * window
    spectrum = scipy.fft.rfft(windowed, axis=1, workers=1)
    power = (spectrum.real**2 + spectrum.imag**2) / np.float32((window**2).sum())
    mel_db = 10 * np.log10(power @ logmel.mel_filters().T + np.float32(logmel.POWER_FLOOR))
    rise = np.maximum(np.diff(mel_db, axis=0, prepend=mel_db[:1]), 0)
    flux = rise.reshape(n_frames, logmel.N_FLUX, -1).mean(2)
    power = power + np.float32(logmel.POWER_FLOOR)
    total = power.sum(1)
    rms_db = 10 * np.log10((windowed**2).sum(1) / np.float32((window**2).sum()) + np.float32(logmel.POWER_FLOOR))
    centroid = np.log2(np.maximum(power @ logmel._bin_hz() / total, np.float32(1)) / np.float32(440))
    flatness_db = 10 / np.log(10) * np.log(power).mean(1) - 10 * np.log10(total / power.shape[1])
    return np.asarray(np.column_stack([mel_db, flux, rms_db, centroid, flatness_db]), np.float32)


def expressive_features(notes: Performance, n_bins: int, window_s: float) -> None:
    """Measure and pool the 28 channels of `expressive`, code version 3."""
    for time_s, values in (
        note_features.note_measures(notes, window_s),
        note_features.lift_measures(notes, window_s),
        note_features.step_measures(notes, window_s),
    ):
        pooling.time_stats(values)
        pooling.bin_stats(values, pooling.note_bins(time_s, n_bins, window_s), n_bins)
    pooling.time_stats(note_features.bin_rates(notes, n_bins, window_s))
