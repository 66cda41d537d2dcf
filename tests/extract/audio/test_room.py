"""Rooms and microphones, against cases whose sound is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from keybed.extract.audio.room import (
    BadRooms,
    Microphone,
    Recording,
    Rooms,
    load_rooms,
    microphone_of,
    rooms_bytes,
    soft_clipped,
)
from keybed.extract.audio.waveform import SAMPLE_RATE_HZ
from keybed.extract.planning.rooms import decay_time

PLAIN = Microphone(pre_emphasis=0.0, low_cut_hz=20.0, drive_db=-60.0)


def _echo(after_s: float) -> np.ndarray:
    response = np.zeros(round(after_s * SAMPLE_RATE_HZ) + 1, np.float32)
    response[-1] = 1.0
    return response


def _tone(hz: float, seconds: float = 1.0) -> np.ndarray:
    return np.asarray(np.sin(2 * np.pi * hz * np.arange(round(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ))


def _rms(x: np.ndarray) -> float:
    return float(np.sqrt((x[x.size // 2 :] ** 2).mean()))


def test_a_plain_microphone_without_a_room_changes_nothing_that_is_heard() -> None:
    tone = _tone(1000.0)
    wet = Recording(np.ones(1, np.float32), PLAIN).apply(tone, 0)
    assert abs(_rms(wet) / _rms(tone) - 1) < 1e-3


def test_what_sounded_before_the_window_is_in_its_tail() -> None:
    lead = 2 * SAMPLE_RATE_HZ
    sound = np.zeros(lead + SAMPLE_RATE_HZ // 2)  # a window of half a second, shorter than the response
    sound[lead - SAMPLE_RATE_HZ // 2] = 1.0
    wet = Recording(_echo(0.75), PLAIN).apply(sound, lead)
    assert wet.size == sound.size
    assert int(np.abs(wet).argmax()) == lead + SAMPLE_RATE_HZ // 4, "0.75 s after it was struck"


def test_pre_emphasis_and_low_cut_have_the_gains_of_their_formulas() -> None:
    for hz in (300.0, 6000.0):
        wet = Recording(np.ones(1, np.float32), Microphone(0.4, 20.0, -60.0)).apply(_tone(hz), 0)
        gain = abs(1 - 0.4 * np.exp(-2j * np.pi * hz / SAMPLE_RATE_HZ))
        assert abs(_rms(wet) / _rms(_tone(hz)) - gain) < 0.01
    at_corner = Recording(np.ones(1, np.float32), Microphone(0.0, 100.0, -60.0)).apply(_tone(100.0, 2.0), 0)
    assert abs(20 * np.log10(_rms(at_corner) / _rms(_tone(100.0, 2.0))) + 3.01) < 0.1, "a Butterworth filter's corner"


def test_the_peak_of_the_window_is_bent_as_tanh_bends_it_and_small_sounds_are_not() -> None:
    sound = np.array([9.0, 0.5, -0.001, 0.25])
    clipped = soft_clipped(sound, 1, 0.0)
    assert clipped[1] == pytest.approx(0.5 * np.tanh(1.0))
    assert clipped[2] == pytest.approx(-0.001, rel=1e-4)
    assert soft_clipped(np.zeros(4), 0, 0.0).tolist() == [0, 0, 0, 0]


def test_rooms_are_kept_and_checked(tmp_path: Path) -> None:
    rooms = Rooms(np.ones((2, 100), np.float32), np.array([0.3, 0.5]))
    file = tmp_path / "rooms.npy"
    file.write_bytes(rooms_bytes(rooms))
    read = load_rooms(file)
    np.testing.assert_array_equal(read.responses, rooms.responses)
    np.testing.assert_array_equal(read.rt60_s, rooms.rt60_s)
    cut = tmp_path / "cut.npy"
    cut.write_bytes(rooms_bytes(rooms)[:-50])
    with pytest.raises(BadRooms, match=r"cut\.npy holds no impulse responses"):
        load_rooms(cut)
    long = tmp_path / "long.npy"
    long.write_bytes(rooms_bytes(Rooms(np.ones((1, 48_001), np.float32), np.array([3.0]))))
    with pytest.raises(BadRooms, match=r"2\.00 s is longer than the 2 s that are rendered before a window"):
        load_rooms(long)
    assert microphone_of([0.1, 50.0, -3.0, -60.0]) == Microphone(0.1, 50.0, -3.0)


def test_the_decay_time_of_an_exponential_is_its_own() -> None:
    time_s = np.arange(SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    noise = np.random.default_rng(0).standard_normal(time_s.size)
    assert decay_time(noise * 10 ** (-3 * time_s / 0.5)) == pytest.approx(0.5, rel=0.03)
