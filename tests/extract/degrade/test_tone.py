from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import welch

from keybed.extract.degrade.curves import CURVES
from keybed.extract.degrade.tone import Noise, add_noise, add_noises, coloured_noise, plan_floor, plan_noise

RATE = 24_000


def piano_like(n: int = 12 * RATE) -> np.ndarray:
    t = np.arange(n) / RATE
    return np.sin(2 * np.pi * 440 * t) * np.exp(-(t % 1.0)) + 0.3 * np.sin(2 * np.pi * 1320 * t)


@pytest.mark.parametrize("slope", [0.0, -3.0, -6.0])
@pytest.mark.parametrize("snr_db", [35.0, 25.0, 20.0])
def test_the_true_snr_is_within_a_third_of_a_decibel(slope: float, snr_db: float) -> None:
    clean, lead = piano_like(), 2 * RATE
    noise = Noise(10 ** (-snr_db / 20), slope, None, key=11)
    dirt = add_noise(clean, lead, noise, RATE) - clean[lead:]
    measured = 10 * np.log10(np.mean(clean[lead:] ** 2) / np.mean(dirt**2))
    assert measured == pytest.approx(snr_db, abs=0.01)


@pytest.mark.parametrize("slope", [0.0, -3.0, -6.0])
def test_noise_has_the_slope_it_says(slope: float) -> None:
    noise = coloured_noise(10 * RATE, slope, RATE, np.random.default_rng(0))
    assert np.sqrt(np.mean(noise.astype(float) ** 2)) == pytest.approx(1.0, abs=1e-5)
    frequency, power = welch(noise, RATE, nperseg=4096)
    band = (frequency > 100) & (frequency < 8000)
    fitted = np.polyfit(np.log2(frequency[band]), 10 * np.log10(power[band]), 1)[0]
    assert fitted == pytest.approx(slope, abs=0.1)


def test_the_band_narrows_from_score_65_down() -> None:
    level = CURVES["tone"].level(np.array([80.0, 65.5, 64.0, 57.5, 50.0]))
    bands = [plan_noise(float(x), 5).band_hz for x in level]
    assert bands[0] is None
    assert bands[1] is None
    widths = [np.log2(high / low) for low, high in bands[2:]]
    assert widths[0] > widths[1] > widths[2]
    assert bands[4] == pytest.approx((250.0, 3000.0), rel=1e-6)


def test_the_band_is_filtered_and_the_snr_holds_behind_the_filter() -> None:
    clean, lead = piano_like(), 2 * RATE
    band = (250.0, 3000.0)
    filtered = add_noise(clean, lead, Noise(0.0, 0.0, band), RATE)
    dirty = add_noise(clean, lead, Noise(0.1, -3.0, band, key=4), RATE)
    ratio = np.sqrt(np.mean((dirty - filtered) ** 2) / np.mean(filtered**2))
    assert ratio == pytest.approx(0.1, rel=1e-3)
    low = np.sin(2 * np.pi * 30 * np.arange(4 * RATE) / RATE)
    assert np.abs(add_noise(low, 2 * RATE, Noise(0.0, 0.0, band), RATE)).max() < 0.05


def test_colours_are_drawn_and_the_noise_repeats() -> None:
    slopes = {plan_noise(0.05, key).slope_db_per_octave for key in range(40)}
    assert slopes == {0.0, -3.0, -6.0}
    clean = piano_like()
    a, b = (add_noise(clean, 0, plan_noise(0.05, 9), RATE) for _ in range(2))
    np.testing.assert_array_equal(a, b)
    assert plan_noise(0.0, 9) == Noise()


def test_every_segment_has_a_floor_below_the_lightest_tone_and_the_ratio_is_measured_above_it() -> None:
    floors = [plan_floor(key) for key in range(200)]
    levels_db = 20 * np.log10([floor.ratio for floor in floors])
    assert -65 <= levels_db.min() < -63
    assert -50 < levels_db.max() <= -48
    assert {floor.slope_db_per_octave for floor in floors} == {0.0, -3.0, -6.0}
    clean, lead = piano_like(), 2 * RATE
    floor = floors[3]
    hiss = add_noise(clean, lead, Noise(floor=floor), RATE) - clean[lead:]
    rms = np.sqrt(np.mean(clean[lead:] ** 2))
    assert np.sqrt(np.mean(hiss**2)) / rms == pytest.approx(floor.ratio, rel=1e-4)
    both = add_noise(clean, lead, Noise(0.05, -3.0, None, key=4, floor=floor), RATE) - clean[lead:]
    assert np.sqrt(np.mean((both - hiss) ** 2)) / rms == pytest.approx(0.05, rel=1e-4)
    np.testing.assert_array_equal(hiss, add_noise(clean, lead, Noise(floor=floor), RATE) - clean[lead:])


@pytest.mark.parametrize("slope", [0.0, -3.0, -6.0])
def test_noise_is_gaussian_in_its_samples_and_in_short_spectra(slope: float) -> None:
    noise = coloured_noise(10 * RATE, slope, RATE, np.random.default_rng(3)).astype(float)
    assert abs(noise.mean()) < 1e-4
    assert np.mean(noise**4) == pytest.approx(3, abs=0.15)
    frames = noise[: 468 * 512].reshape(468, 512) * np.hanning(512)
    power = np.abs(np.fft.rfft(frames, axis=1)[:, 10:200]) ** 2
    # Of a Gaussian's spectrum the power is exponential: E[ln] = -γ, E[x²] = 2, in units of its mean.
    unit = power / power.mean(0)
    assert np.log(unit).mean() == pytest.approx(-0.5772, abs=0.02)
    assert np.mean(unit**2) == pytest.approx(2, abs=0.05)


def test_noises_of_two_keys_are_independent_and_of_odd_length_too() -> None:
    a, b = (coloured_noise(9 * RATE + 1, -3.0, RATE, np.random.default_rng(key)).astype(float) for key in (1, 2))
    assert abs(np.mean(a * b)) < 0.01
    assert np.sqrt(np.mean(a**2)) == pytest.approx(1.0, abs=1e-5)
    assert abs(np.mean(a[:100_000] * a[100_000:200_000])) < 0.03


def test_noises_of_several_rows_have_the_bytes_of_each_alone() -> None:
    clean, floor = piano_like(), plan_floor(7)
    noises = [Noise(floor=floor), Noise(), Noise(0.1, -3.0, (250.0, 3000.0), 4, floor), Noise(0.05, -6.0, None, 5)]
    for some in (noises, noises * 2, noises[1:2]):
        together = add_noises([(clean * (1 + k), 2 * RATE, noise) for k, noise in enumerate(some)], RATE)
        alone = [add_noise(clean * (1 + k), 2 * RATE, noise, RATE) for k, noise in enumerate(some)]
        assert [a.tobytes() for a in together] == [a.tobytes() for a in alone]
