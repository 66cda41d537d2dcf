"""Tone: added noise and, below score 65, a band-pass filter. It stands for recording quality, not for touch.

Every rendered row, pristine ones too, also has a faint noise floor, as recordings have; the tone level is measured above it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, rfftfreq

from keybed.extract.degrade.curves import CURVES, LOWEST_SCORE
from keybed.extract.degrade.row_key import generator_of

NOISE_VERSION = 2
"""Raise it whenever the same key would give other noise. 2: random phases of one magnitude; 1: filtered normal draws."""
NOISE_SLOPES_DB_PER_OCTAVE = (0.0, -3.0, -6.0)
"""Spectral slopes to draw from: white, pink, brown."""
COLOUR_CORNER_HZ = 40.0
"""Below this frequency pink and brown noise have a flat spectrum."""
BAND_PASS_FROM_SCORE = 65.0
"""Rows with a tone score below this are also filtered."""
WIDEST_BAND_HZ = (20.0, 11_000.0)
"""Pass band at score BAND_PASS_FROM_SCORE; below it, both edges are interpolated in log frequency."""
NARROWEST_BAND_HZ = (250.0, 3_000.0)
"""Pass band at score 50."""
BAND_ORDER = 2
"""Order of the Butterworth filter."""
FLOOR_DB = (-65.0, -48.0)
"""Level of the noise floor of a rendered segment in dB relative to the signal's rms, drawn uniformly between these."""


@dataclass(frozen=True)
class Floor:
    """Noise that a segment has in all of its variants. ratio: floor rms / signal rms. key: of the random generator."""

    ratio: float
    slope_db_per_octave: float
    key: int


@dataclass(frozen=True)
class Noise:
    """Noise to add to a waveform. ratio: noise rms / signal rms, 0 for none. band_hz: pass band, None for no filter.

    key: 128-bit key of the random generator. floor: the segment's noise floor; it is no part of the ratio.
    """

    ratio: float = 0.0
    slope_db_per_octave: float = 0.0
    band_hz: tuple[float, float] | None = None
    key: int = 0
    floor: Floor | None = None


def plan_floor(key: int) -> Floor:
    """The noise floor of a segment; its level and its colour are drawn from the generator of `key`."""
    rng = generator_of(key)
    level_db = float(rng.uniform(*FLOOR_DB))
    colour = int(rng.integers(len(NOISE_SLOPES_DB_PER_OCTAVE)))
    return Floor(10 ** (level_db / 20), NOISE_SLOPES_DB_PER_OCTAVE[colour], key)


def plan_noise(level: float, key: int) -> Noise:
    """The noise of a tone level (noise rms / signal rms); its colour is drawn from the generator of `key`."""
    if level == 0.0:
        return Noise()
    colour = int(generator_of(key).integers(len(NOISE_SLOPES_DB_PER_OCTAVE)))
    score = float(CURVES["tone"].score(level))
    strength = (BAND_PASS_FROM_SCORE - score) / (BAND_PASS_FROM_SCORE - LOWEST_SCORE)
    band = None
    if strength > 0:
        wide, narrow = np.log(WIDEST_BAND_HZ), np.log(NARROWEST_BAND_HZ)
        low, high = np.exp(wide + strength * (narrow - wide))
        band = (float(low), float(high))
    return Noise(float(level), NOISE_SLOPES_DB_PER_OCTAVE[colour], band, key)


def coloured_noise(
    n: int, slope_db_per_octave: float, sample_rate_hz: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Gaussian noise, float32 (n,), of rms 1, with this spectral slope above COLOUR_CORNER_HZ."""
    return np.asarray(irfft(_noise_spectrum(n, slope_db_per_octave, sample_rate_hz, rng).view(np.complex64), n))


def _noise_spectrum(
    n: int, slope_db_per_octave: float, sample_rate_hz: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Spectrum of noise with rms 1, real and imaginary parts interleaved, float32 (2 * (n // 2 + 1),).

    Its magnitude is the colour's, each phase one of four at random. A sample is the sum of so many independent terms that it is
    Gaussian, and so is any part of much less than n samples.
    """
    magnitude = _magnitude(n, slope_db_per_octave, sample_rate_hz)
    bits = np.unpackbits(np.frombuffer(rng.bytes(-(-magnitude.size // 8)), np.uint8), count=magnitude.size)
    signs = np.left_shift(bits, 31, dtype=np.uint32)
    signs ^= magnitude.view(np.uint32)
    return signs.view(np.float32)


@lru_cache(maxsize=8)
def _magnitude(n: int, slope_db_per_octave: float, sample_rate_hz: int) -> NDArray[np.float32]:
    """Size of real and imaginary part of each frequency, interleaved, float32 (2 * (n // 2 + 1),), for noise of rms 1."""
    frequency = np.maximum(rfftfreq(n, 1 / sample_rate_hz), COLOUR_CORNER_HZ)
    part = (frequency / COLOUR_CORNER_HZ) ** (slope_db_per_octave / (20 * np.log10(2)))
    part[0] = 0.0
    share = np.full(part.size, 4.0)
    if n % 2 == 0:
        share[-1] = 1.0  # the highest frequency's real part alone, once
    part *= n / np.sqrt(np.sum(share * part**2))
    return np.repeat(part, 2).astype(np.float32)


@lru_cache(maxsize=1)
def _hiss_spectrum(floor: Floor, n: int, sample_rate_hz: int) -> NDArray[np.float32]:
    """`_noise_spectrum` of a noise floor. Kept until the next floor: all variants of a segment have the same."""
    rng = generator_of(floor.key)
    rng.uniform(*FLOOR_DB)  # the draws of level and colour in `plan_floor`
    rng.integers(len(NOISE_SLOPES_DB_PER_OCTAVE))
    return _noise_spectrum(n, floor.slope_db_per_octave, sample_rate_hz, rng)


def add_noise(audio: NDArray[np.float64], lead: int, noise: Noise, sample_rate_hz: int) -> NDArray[np.float64]:
    """Filter a waveform, drop its first `lead` samples (before the window), and add the noise. float64.

    noise.ratio holds exactly: rms of the noise, without the floor, over rms of the filtered signal within the window.
    """
    return add_noises([(audio, lead, noise)], sample_rate_hz)[0]


def add_noises(
    sounds: Sequence[tuple[NDArray[np.floating], int, Noise]], sample_rate_hz: int
) -> list[NDArray[np.float64]]:
    """`add_noise` of several (waveform, lead, noise) with windows of one length. Waveforms: float64, or float32 as it is summed.

    The noises become sound in one transform: with the same bytes as one by one, four of them in half of the time.
    """
    windows = [_filtered(audio, noise, sample_rate_hz)[lead:] for audio, lead, noise in sounds]
    noisy = [k for k, (_, _, noise) in enumerate(sounds) if noise.ratio > 0.0 or noise.floor is not None]
    finished = [window.astype(np.float64) for window in windows]
    if not noisy:
        return finished
    n = windows[0].size
    parts = np.empty((len(noisy), 2 * (n // 2 + 1)), np.float32)
    for part, k in zip(parts, noisy, strict=True):
        _fill_spectrum(part, sounds[k][2], windows[k], sample_rate_hz)
    for k, added in zip(noisy, irfft(parts.view(np.complex64), n, axis=1), strict=True):
        finished[k] += added
    return finished


def _filtered(audio: NDArray[np.floating], noise: Noise, sample_rate_hz: int) -> NDArray[np.floating]:
    if noise.band_hz is None:
        return audio
    from scipy.signal import butter, sosfilt

    sos = butter(BAND_ORDER, noise.band_hz, "bandpass", fs=sample_rate_hz, output="sos")
    return np.asarray(sosfilt(sos, audio.astype(np.float64, copy=False)))


def _fill_spectrum(parts: NDArray[np.float32], noise: Noise, window: NDArray[np.floating], sample_rate_hz: int) -> None:
    """Set `parts` to the spectrum of what a window gets, interleaved as in `_noise_spectrum`."""
    rms = np.sqrt(np.mean(np.square(window, dtype=np.float64)))
    if noise.floor is None:
        parts[:] = 0.0
    else:
        hiss = _hiss_spectrum(noise.floor, window.size, sample_rate_hz)
        np.multiply(hiss, np.float32(noise.floor.ratio * rms), out=parts)
    if noise.ratio > 0.0:
        rng = generator_of(noise.key)
        rng.integers(len(NOISE_SLOPES_DB_PER_OCTAVE))  # the draw of the colour in `plan_noise`
        added = _noise_spectrum(window.size, noise.slope_db_per_octave, sample_rate_hz, rng)
        added *= np.float32(noise.ratio * rms)
        parts += added
