from __future__ import annotations

import numpy as np
import pytest

from extract.encoders.audio_check import check_audio, check_notes
from extract.performance import Performance
from store.schema import Status


def _tone(n: int) -> np.ndarray:
    return (0.1 * np.sin(np.arange(n))).astype(np.float32)


def test_sound_audio_is_ok() -> None:
    assert check_audio(_tone(1000), 1000) is Status.OK


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_sample_that_is_no_number_fails_the_row(bad: float) -> None:
    audio = _tone(1000)
    audio[17] = bad
    assert check_audio(audio, 1000) is Status.NOT_FINITE


def test_one_sample_short() -> None:
    assert check_audio(_tone(999), 1000) is Status.AUDIO_TOO_SHORT


def test_silence_and_dither_are_silent_but_a_quiet_tone_is_not() -> None:
    assert check_audio(np.zeros(1000, np.float32), 1000) is Status.SILENT_AUDIO
    assert check_audio(np.full(1000, 2**-15, np.float32), 1000) is Status.SILENT_AUDIO
    assert check_audio(_tone(1000) * np.float32(0.01), 1000) is Status.OK


@pytest.mark.parametrize(
    "audio", [np.zeros((2, 1000), np.float32), np.zeros(1000), np.zeros(1000, np.int16), np.zeros(1838, np.float32)]
)
def test_stereo_other_types_and_another_sample_rate_are_the_callers_mistake(audio: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"float32 vector|sample rate"):
        check_audio(audio, 1000)


def test_only_notes_that_begin_in_the_window_count() -> None:
    def notes(*onset_s: float) -> Performance:
        onsets = np.array(onset_s)
        some = np.full(onsets.size, 60, np.int16)
        return Performance(onsets, onsets + 20, some, some)

    assert check_notes(notes(-1.0, 10.0), 10.0) is Status.NO_NOTES
    assert check_notes(notes(), 10.0) is Status.NO_NOTES
    assert check_notes(notes(-1.0, 0.0), 10.0) is Status.OK
