from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from keybed.extract.encoders.errors import EncoderError
from keybed.extract.encoders.transkun.transcribe import Transcriber


@pytest.fixture(scope="module")
def transcriber(trained: Path) -> Transcriber:
    return Transcriber(trained)


def test_notes_are_the_authors(transcriber: Transcriber, golden: Any, make_golden: ModuleType) -> None:
    heard = transcriber(make_golden.clip(), 44_100)
    before_s = 128 * 1024 / 44_100
    events = golden["notes"]
    start_s, end_s, pitch, velocity, *_ = events[events[:, 2] > 0].T
    assert heard.n_notes == pitch.size > 40
    order = np.lexsort((pitch, start_s))
    np.testing.assert_array_equal(heard.pitch, pitch[order])
    np.testing.assert_array_equal(heard.velocity, velocity[order])
    np.testing.assert_allclose(heard.onset_s, start_s[order] - before_s, atol=1e-4)
    np.testing.assert_allclose(heard.offset_s, end_s[order] - before_s, atol=1e-4)


@pytest.mark.slow
def test_long_audio_is_joined_to_the_notes_of_its_parts(transcriber: Transcriber, make_golden: ModuleType) -> None:
    """A clip of 10 s, 4 s of silence, and the clip again, against the clip alone."""
    clip = make_golden.clip()
    alone = transcriber(clip, 44_100)
    both = transcriber(np.concatenate([clip, np.zeros(4 * 44_100, np.float32), clip]), 44_100)
    assert both.n_notes == pytest.approx(2 * alone.n_notes, abs=4)
    late = both.onset_s > 12
    assert late.sum() == pytest.approx(alone.n_notes, abs=2)
    # Notes that both found begin at the same times.
    apart_s = np.abs(both.onset_s[late][:, None] - 14 - alone.onset_s).min(1)
    assert np.median(apart_s) < 0.003


@pytest.mark.parametrize("audio", [np.zeros(0), np.zeros((2, 100)), np.full(44_100, np.nan)])
def test_audio_that_is_none_is_refused(audio: np.ndarray) -> None:
    with pytest.raises(EncoderError, match="cannot be transcribed; give finite mono samples"):
        Transcriber("random:tiny")(audio, 44_100)


def test_silence_has_no_notes(transcriber: Transcriber) -> None:
    heard = transcriber(np.zeros(22_050, np.float32), 22_050)
    assert heard.n_notes == 0
    assert heard.pedal_s.size == 0
