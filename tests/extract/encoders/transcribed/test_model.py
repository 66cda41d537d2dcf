from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from keybed.extract.encoders import build, describe, takes_audio
from keybed.extract.encoders.base import Clip
from keybed.extract.encoders.baselines import expressive
from keybed.extract.encoders.transcribed.fidelity import MEASURES
from keybed.extract.encoders.transcribed.model import Transcribed
from keybed.extract.music.performance import Performance
from keybed.store.format.array_specs import encoder_arrays


def _tiny() -> Transcribed:
    encoder = build(*describe("transcribed", weights="random:tiny", n_bins=4, window_s=2.0))
    assert isinstance(encoder, Transcribed)
    return encoder


def test_its_features_are_the_expressive_ones_of_the_notes_it_heard(monkeypatch: pytest.MonkeyPatch, make_clip) -> None:  # type: ignore[no-untyped-def]
    encoder = _tiny()
    clips: list[Clip | None] = [make_clip(seed, window_s=2.0) for seed in range(3)]
    clips[1] = None
    notes = [None if clip is None else replace(clip.performance, velocity=clip.performance.pitch) for clip in clips]
    monkeypatch.setattr(encoder, "_transcribe", lambda batch, start: notes[start : start + len(batch)])
    pooled = encoder.encode(clips)
    heard = [None if n is None else Clip(np.zeros(0, np.float32), n, 2.0) for n in notes]
    direct = expressive.Expressive(expressive.describe(n_bins=4, window_s=2.0, threads=1)).encode(heard)
    for name in ("layers", "frames", "mask"):
        np.testing.assert_array_equal(getattr(pooled, name), getattr(direct, name))
    assert pooled.measures is not None
    assert pooled.measures.shape == (3, len(MEASURES))
    assert np.isnan(pooled.measures[1]).all()
    assert pooled.measures[[0, 2], MEASURES.index("note_f1")].tolist() == [1, 1]


def test_a_clip_in_which_nothing_is_heard_is_masked(monkeypatch: pytest.MonkeyPatch, make_clip) -> None:  # type: ignore[no-untyped-def]
    encoder = _tiny()
    monkeypatch.setattr(encoder, "_transcribe", lambda batch, start: [Performance.empty()] * len(batch))
    pooled = encoder.encode([make_clip(0, window_s=2.0)])
    assert not pooled.mask.any()
    assert (pooled.frames == 0).all()
    assert pooled.measures is not None
    assert pooled.measures[0, MEASURES.index("note_recall")] == 0


def test_its_measures_have_an_array_of_their_own() -> None:
    spec, _ = describe("transcribed", weights="random:tiny", n_bins=4, window_s=2.0)
    assert takes_audio(spec)
    (array,) = (array for array in encoder_arrays(spec, 64, 32) if array.path == "midi/transcribed/measures")
    assert (array.shape, array.dtype, array.dims) == ((64, len(MEASURES)), "float32", ("row", "measure"))
    assert array.attributes["measure"] == list(MEASURES)
    assert {array.path for array in encoder_arrays(spec, 64, 32)} == {
        f"midi/transcribed/{name}" for name in ("layers", "frames", "mask", "measures")
    }
