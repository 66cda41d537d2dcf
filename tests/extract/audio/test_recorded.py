from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from keybed.extract.audio.recorded import AudioTooShort, Recorder, describe, read_window, silence_dbfs
from keybed.extract.degrade import UNTOUCHED, Variant, make_variant, prepare
from keybed.store.format.vocabulary import LEVELS, Status
from tests.extract.examples import WINDOW_S, steady

RATE = 24_000


def variant(tone: float = 0.0) -> Variant:
    level = UNTOUCHED.copy()
    level[LEVELS.index("tone")] = tone
    return make_variant(prepare(steady(n=300)), 6.2, WINDOW_S, level, seed=0, recording_id=1, tier=2)


def tone(seconds: float, rate: int, hertz: float = 440.0) -> np.ndarray:
    return 0.3 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


@pytest.mark.parametrize(
    ("rate", "subtype", "suffix"),
    [(44_100, "PCM_16", "wav"), (48_000, "PCM_24", "flac"), (24_000, "FLOAT", "wav"), (8_000, "PCM_16", "wav")],
)
def test_a_slice_is_the_sine_that_was_recorded_there(tmp_path: Path, rate: int, subtype: str, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    left = tone(30, rate)
    soundfile.write(path, np.stack([left, 0.5 * left], 1), rate, subtype=subtype)
    sound, lead = read_window(path, 6.2, WINDOW_S)
    assert sound.size == lead + 240_000
    t = 6.2 + np.arange(240_000) / RATE
    want = 0.75 * 0.3 * np.sin(2 * np.pi * 440.0 * t)
    # A window may begin between two samples of the file: at most half a sample of 8 kHz, 0.17 rad at 440 Hz.
    assert np.abs(sound[lead:] - want).max() < (0.002 if rate != 8000 else 0.03)


def test_a_mono_8_khz_recording_makes_a_whole_row(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(30, 8_000), 8_000)
    made = Recorder().render(variant(), WINDOW_S, tmp_path / "a.wav", 6.2)
    assert made.status == Status.OK
    assert made.audio.shape == (240_000,)
    t = 6.2 + np.arange(240_000) / RATE
    want = np.sin(2 * np.pi * 440.0 * t)
    assert np.corrcoef(made.audio, want)[0, 1] > 0.999


def test_a_slice_does_not_depend_on_where_the_file_began(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.1, 44_100 * 30)
    soundfile.write(tmp_path / "a.wav", noise, 44_100, subtype="FLOAT")
    soundfile.write(tmp_path / "b.wav", noise[44_100 * 10 :], 44_100, subtype="FLOAT")
    a, lead_a = read_window(tmp_path / "a.wav", 15.0, WINDOW_S)
    b, lead_b = read_window(tmp_path / "b.wav", 5.0, WINDOW_S)
    np.testing.assert_array_equal(a[lead_a:], b[lead_b:])


def test_resampling_keeps_what_lies_above_the_new_band_out(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(20, 44_100, 15_000.0), 44_100, subtype="FLOAT")
    sound, lead = read_window(tmp_path / "a.wav", 3.0, WINDOW_S)
    assert np.abs(sound[lead:]).max() < 1e-4


def test_the_beginning_and_the_last_moment_of_a_recording(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(10.0 - 0.04, 44_100), 44_100)
    sound, lead = read_window(tmp_path / "a.wav", 0.0, WINDOW_S)
    assert lead == 0
    assert sound.size == 240_000
    assert (sound[-900:] == 0).all()
    with pytest.raises(AudioTooShort):
        read_window(tmp_path / "a.wav", 0.2, WINDOW_S)


def test_only_tone_touches_the_sound_and_its_snr_is_true(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(30, 44_100), 44_100, subtype="FLOAT")
    clean = Recorder().render(variant(), WINDOW_S, path, 6.2)
    dirty = Recorder().render(variant(10 ** (-30 / 20)), WINDOW_S, path, 6.2)
    assert clean.status == dirty.status == Status.OK
    np.testing.assert_allclose([clean.waveform[0], dirty.waveform[0]], -26.0, atol=1e-3)
    signal = clean.audio.astype(float) * 10 ** ((dirty.waveform[2] - clean.waveform[2]) / 20)
    snr = 10 * np.log10(np.mean(signal**2) / np.mean((dirty.audio - signal) ** 2))
    assert snr == pytest.approx(30.0, abs=0.3)


def test_what_is_wrong_with_a_file_is_the_rows_status(tmp_path: Path) -> None:
    short, text, silent, nan = (tmp_path / f"{name}.wav" for name in ("short", "text", "silent", "nan"))
    soundfile.write(short, tone(12, 8_000), 8_000)
    text.write_text("hello")
    soundfile.write(silent, np.zeros(44_100 * 20), 44_100)
    soundfile.write(nan, np.full(44_100 * 20, np.nan), 44_100, subtype="FLOAT")
    want = {
        short: (Status.AUDIO_TOO_SHORT, "shorter than the MIDI"),
        text: (Status.AUDIO_UNREADABLE, "text.wav"),
        tmp_path / "gone.wav": (Status.AUDIO_UNREADABLE, "gone.wav: no such file"),
        silent: (Status.SILENT_AUDIO, "silent"),
        nan: (Status.NOT_FINITE, "nan.wav"),
    }
    for path, (status, words) in want.items():
        made = Recorder().render(variant(), WINDOW_S, path, 6.2)
        assert made.status == status
        assert words in made.reason
        assert str(tmp_path) not in made.reason
        assert (made.audio == 0).all()
        assert np.isnan(made.waveform).all()


@pytest.mark.parametrize("level", [0.0, 0.0562, 0.1])
def test_an_offset_changes_no_row_whatever_its_tone(tmp_path: Path, level: float) -> None:
    sound = 0.02 * tone(30, RATE) / 0.3
    rows = []
    for name, offset in (("plain", 0.0), ("shifted", 0.05)):
        path = tmp_path / f"{name}.wav"
        soundfile.write(path, sound + offset, RATE, subtype="FLOAT")
        rows.append(Recorder().render(variant(level), WINDOW_S, path, 6.2))
    plain, shifted = rows
    # Without the correction the offset is 11 dB of the unfiltered rows' RMS, and the filter of a poor tone removes it.
    np.testing.assert_allclose(shifted.waveform, plain.waveform, atol=0.01)
    np.testing.assert_allclose(shifted.audio, plain.audio, atol=1e-4)


def test_a_formats_own_noise_is_silence(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    n = 30 * RATE
    dither = {
        "mono": rng.integers(-1, 2, n),
        "stereo": rng.integers(-1, 2, (n, 2)),
        "triangular": np.round(rng.triangular(-1, 0, 1, n)).astype(int),
    }
    for name, samples in dither.items():
        soundfile.write(tmp_path / f"{name}.wav", samples.astype(np.int16), RATE, subtype="PCM_16")
        made = Recorder().render(variant(), WINDOW_S, tmp_path / f"{name}.wav", 6.2)
        assert made.status == Status.SILENT_AUDIO, name
        assert "at least -76 dBFS is needed in PCM_16" in made.reason
        assert re.search(r"a gain of (6[5-9]|7\d) dB", made.reason), made.reason
    # One step of 8 bits is −42 dBFS: noise of ±1 step lies above −76 dBFS and is no music either.
    soundfile.write(tmp_path / "eight.wav", rng.integers(-1, 2, n) / 128, RATE, subtype="PCM_U8")
    eight = Recorder().render(variant(), WINDOW_S, tmp_path / "eight.wav", 6.2)
    assert eight.status == Status.SILENT_AUDIO
    assert silence_dbfs("PCM_U8") == pytest.approx(-20 * np.log10(128) + 6)


def test_soft_music_is_not_silence(tmp_path: Path) -> None:
    for subtype, rms_dbfs in (("PCM_16", -70.0), ("PCM_24", -74.0), ("FLOAT", -74.0), ("PCM_U8", -30.0)):
        sound = tone(30, RATE) / 0.3 * np.sqrt(2) * 10 ** (rms_dbfs / 20)
        soundfile.write(tmp_path / "soft.wav", sound, RATE, subtype=subtype)
        made = Recorder().render(variant(), WINDOW_S, tmp_path / "soft.wav", 6.2)
        assert made.status == Status.OK, (subtype, made.reason)
        assert made.waveform[2] == pytest.approx(-26 - rms_dbfs, abs=1.0)


def test_one_muted_channel_leaves_the_music_of_the_other(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(-1, 2, 30 * RATE) / 2**15
    soundfile.write(tmp_path / "a.wav", np.stack([tone(30, RATE), noise], 1), RATE, subtype="PCM_16")
    made = Recorder().render(variant(), WINDOW_S, tmp_path / "a.wav", 6.2)
    assert made.status == Status.OK
    assert made.waveform[2] == pytest.approx(-26 - 20 * np.log10(0.15 / np.sqrt(2)), abs=0.01)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_stereo_in_antiphase_is_named_and_not_amplified(tmp_path: Path, subtype: str) -> None:
    left = tone(30, RATE)
    soundfile.write(tmp_path / "a.wav", np.stack([left, -left + 1e-5], 1), RATE, subtype=subtype)
    made = Recorder().render(variant(), WINDOW_S, tmp_path / "a.wav", 6.2)
    assert made.status == Status.SILENT_AUDIO
    assert made.reason.startswith("a.wav: the channels cancel each other (rms -13 dBFS")


def test_a_pipe_and_an_impossible_name_become_the_rows_status(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    for path, words in (
        (tmp_path / "pipe.wav", "pipe.wav: a named pipe, socket or device"),
        (tmp_path / ("a" * 306), "File name too long"),
        (tmp_path, "a folder, not a file"),
    ):
        made = Recorder().render(variant(), WINDOW_S, path, 6.2)
        assert made.status == Status.AUDIO_UNREADABLE
        assert words in made.reason
        assert str(tmp_path) not in made.reason


def test_the_recipe_says_what_is_not_audible() -> None:
    assert "tone alone is audible" in describe()["audible"]


def test_variants_of_one_window_are_rendered_as_each_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(30, 44_100), 44_100, subtype="FLOAT")
    failed = variant().failed(Status.NO_NOTES, "none")
    variants = [variant(), failed, variant(10 ** (-30 / 20)), variant(10 ** (-21 / 20))]
    for file in (path, tmp_path / "absent.wav"):
        together = Recorder().render_all(variants, WINDOW_S, file, 6.2)
        alone = [Recorder().render(v, WINDOW_S, file, 6.2) for v in variants]
        for row, other in zip(together, alone, strict=True):
            assert (row.status, row.reason) == (other.status, other.reason)
            assert row.audio.tobytes() == other.audio.tobytes()
