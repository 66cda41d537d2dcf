from __future__ import annotations

import os
import subprocess
import sys
import time

import numpy as np
import pytest

from keybed.extract.encoders import build, describe
from keybed.extract.encoders.baselines.logmel import CHANNELS, mel_filters, spectral_channels

RATE = 24_000
TIME_S = np.arange(10 * RATE) / RATE


def _channels(audio: np.ndarray) -> dict[str, np.ndarray]:
    return dict(zip(CHANNELS, spectral_channels(audio.astype(np.float32)).T, strict=True))


def _mels(audio: np.ndarray) -> np.ndarray:
    return spectral_channels(audio.astype(np.float32))[:, :96]


def _slaney_centres() -> np.ndarray:
    """Slaney's scale from its two branches: 200/3 Hz a mel up to 1 kHz, then 27 mels for a factor of 6.4."""

    def mel(hz: float) -> float:
        return 3 * hz / 200 if hz < 1000 else 15 + 27 * np.log(hz / 1000) / np.log(6.4)

    mels = np.linspace(mel(30), mel(12000), 98)[1:-1]
    return np.array([200 * m / 3 if m < 15 else 1000 * 6.4 ** ((m - 15) / 27) for m in mels])


def test_no_filter_is_empty_and_each_has_area_one() -> None:
    filters = mel_filters()
    assert (filters.sum(1) > 0).all()
    # The sum over FFT bins of 23.4 Hz approximates the integral where a triangle spans many bins.
    np.testing.assert_allclose(filters[60:].sum(1) * RATE / 1024, 1, rtol=0.01)


@pytest.mark.parametrize("hz", [110.0, 440.0, 1000.0, 3520.0, 9000.0])
def test_a_tone_is_loudest_in_its_band(hz: float) -> None:
    loudest = _mels(0.1 * np.sin(2 * np.pi * hz * TIME_S))[10:-10].mean(0).argmax()
    assert abs(loudest - np.abs(_slaney_centres() - hz).argmin()) <= 1


def test_level_is_in_decibels() -> None:
    tone = _channels(0.1 * np.sin(2 * np.pi * 440 * TIME_S))
    np.testing.assert_allclose(tone["rms_db"][5:-5], 10 * np.log10(0.1**2 / 2), atol=0.1)
    louder = _mels(np.sin(2 * np.pi * 440 * TIME_S)) - _mels(0.1 * np.sin(2 * np.pi * 440 * TIME_S))
    centre = np.abs(_slaney_centres() - 440).argmin()
    np.testing.assert_allclose(louder[5:-5, centre], 20, atol=0.01)


def test_centroid_of_a_tone_in_octaves() -> None:
    for octave in (-1, 0, 2):
        tone = _channels(0.5 * np.sin(2 * np.pi * 440 * 2.0**octave * TIME_S))
        np.testing.assert_allclose(tone["centroid_octaves"][5:-5], octave, atol=0.02)


def test_flatness_tells_noise_from_tones() -> None:
    noise = _channels(0.1 * np.random.default_rng(0).standard_normal(TIME_S.size))
    # E[ln] of exponentially distributed power is −γ: −2.51 dB.
    assert noise["flatness_db"].mean() == pytest.approx(-0.5772 * 10 / np.log(10), abs=0.1)
    tone = _channels(
        0.1 * np.sin(2 * np.pi * 440 * TIME_S) + 1e-4 * np.random.default_rng(0).standard_normal(TIME_S.size)
    )
    assert tone["flatness_db"][5:-5].max() < -20


def test_flux_marks_onsets_and_nothing_else() -> None:
    spec, _ = describe("logmel", n_bins=20, window_s=10.0, threads=1)
    audio = 1e-4 * np.random.default_rng(0).standard_normal(TIME_S.size)
    audio[TIME_S >= 5.25] += 0.3 * np.sin(2 * np.pi * 440 * TIME_S[TIME_S >= 5.25])
    flux = np.stack([_channels(audio)[f"flux_{group}"] for group in range(8)]).max(0)
    assert abs(flux.argmax() * 0.02 - 5.25) <= 0.03
    assert np.median(flux) < 0.2 * flux.max()
    assert spec.frame_stats == ("mean", "sd")


def test_bins_hold_the_frames_centred_in_them(make_clip) -> None:  # type: ignore[no-untyped-def]
    spec, place = describe("logmel", n_bins=20, window_s=10.0)
    clip = make_clip()
    pooled = build(spec, place).encode([clip])
    channels = spectral_channels(clip.audio).astype(np.float64)
    np.testing.assert_allclose(pooled.frames[0, 3, 0], channels[75:100].mean(0), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(pooled.frames[0, 3, 1], channels[75:100].std(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(pooled.layers[0, 0, 0], channels.mean(0), rtol=1e-5, atol=1e-5)


def test_a_shift_by_one_bin_shifts_the_bins() -> None:
    spec, place = describe("logmel", n_bins=20, window_s=10.0)
    rng = np.random.default_rng(1)
    long = (0.1 * rng.standard_normal(TIME_S.size + 12000)).astype(np.float32)
    first, second = spectral_channels(long[: TIME_S.size]), spectral_channels(long[12000:])
    np.testing.assert_allclose(first[30:490], second[5:465], atol=1e-3)
    assert build(spec, place).spec is spec


def test_it_is_cheap(make_clip) -> None:  # type: ignore[no-untyped-def]
    encoder = build(*describe("logmel", n_bins=20, window_s=10.0))
    clips = [make_clip()] * 10
    encoder.encode(clips)
    start = time.process_time()
    encoder.encode(clips)
    # The goal is 10 ms a row; five times that on a busy machine would still say that something is wrong.
    assert (time.process_time() - start) / 10 < 0.05


_BYTES = """
import hashlib, numpy as np
from keybed.extract.encoders import build, describe
from keybed.extract.encoders.self_check import example_clip
for name in ("logmel", "expressive"):
    pooled = build(*describe(name, n_bins=20, window_s=10.0)).encode([example_clip(10.0)] * 2)
    print(hashlib.sha256(pooled.layers.tobytes() + pooled.frames.tobytes()).hexdigest())
"""


def test_the_baselines_bytes_do_not_depend_on_openblas_threads() -> None:
    found = {
        subprocess.run(
            [sys.executable, "-c", _BYTES],
            env=os.environ | {"OPENBLAS_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in ("1", "2")
    }
    assert len(found) == 1
    assert len(found.pop().split()) == 2
