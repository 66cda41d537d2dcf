from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from keybed.extract.encoders import NEED_FILES, build, describe
from keybed.extract.encoders.audio_check import checked_waveform
from keybed.extract.encoders.errors import EncoderError

GRID = {"n_bins": 4, "window_s": 2.0}


def test_a_sound_clip_is_passed_on(make_clip: Any) -> None:
    spec, _ = describe("logmel", **GRID)
    clip = make_clip(window_s=2.0)
    assert checked_waveform(spec, clip, 0) is clip.audio


@pytest.mark.parametrize("name", ["mert", "logmel", "placeholder-audio"])
@pytest.mark.parametrize(
    "spoil",
    [
        lambda audio: audio[:-1],  # one sample short
        lambda audio: np.repeat(audio, 2)[: int(audio.size * 44100 / 24000)],  # another sample rate
        lambda audio: np.stack([audio, audio]),  # stereo
        lambda audio: audio.astype(np.float64),
        lambda audio: (audio * 32767).astype(np.int16),
    ],
)
def test_a_clip_that_is_not_the_recipes_window_is_refused_by_row(name: str, spoil: Any, make_clip: Any) -> None:
    clip = make_clip(window_s=2.0)
    encoder = build(*describe(name, weights="random:tiny" if name in NEED_FILES else None, **GRID))
    with pytest.raises(EncoderError, match=rf"{name}: the clip of row 5 of this shard .* 48000 mono float32 samples"):
        encoder.encode([None, *[clip] * 4, replace(clip, audio=spoil(clip.audio))])


@pytest.mark.parametrize("name", ["mert", "logmel"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_sample_that_is_no_number_never_reaches_the_store(name: str, bad: float, make_clip: Any) -> None:
    clip = make_clip(window_s=2.0)
    clip.audio[1700] = bad
    encoder = build(*describe(name, weights="random:tiny" if name in NEED_FILES else None, **GRID))
    with pytest.raises(EncoderError, match="row 1 of this shard"), np.errstate(all="ignore"):
        encoder.encode([make_clip(window_s=2.0), clip])


@pytest.mark.parametrize("name", ["mert", "logmel"])
def test_silence_says_something_finite(name: str, make_clip: Any) -> None:
    """Its row is SILENT_AUDIO before it comes here; were it not, it would not spoil its batch."""
    clip = make_clip(window_s=2.0)
    silent = replace(clip, audio=np.zeros_like(clip.audio))
    encoder = build(*describe(name, weights="random:tiny" if name in NEED_FILES else None, **GRID))
    alone, beside = encoder.encode([clip, None]), encoder.encode([clip, silent])
    assert np.isfinite(beside.layers).all()
    np.testing.assert_array_equal(beside.layers[0], alone.layers[0])
