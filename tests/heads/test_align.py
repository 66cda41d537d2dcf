from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from keybed.heads.align import AlignConfig, aligned, fit_projection, project
from keybed.heads.data import ArrayData
from keybed.heads.errors import BadInput, NotFinite
from keybed.heads.fit_config import FitConfig
from keybed.heads.inputs import HeadInput, concatenate, from_arrays

FIT = FitConfig(epochs=12, batch_rows=32, learning_rate=1e-2, seeds=(0,), patience=0)


def alignment(audio_NxD, midi_NxD):
    """Mean cosine of true pairs of unit vectors."""
    return np.sum(audio_NxD.astype(float) * midi_NxD, axis=1).mean()


def pairs(n_segments: int, seed: int) -> HeadInput:
    """Both modalities show one hidden vector, each through its own matrix: the segment's, plus the variant's own part."""
    rng, n = np.random.default_rng(seed), 4 * n_segments
    hidden = np.repeat(rng.normal(size=(n_segments, 6)), 4, axis=0) + rng.normal(size=(n, 6))
    mix = np.random.default_rng(77)
    to_audio, to_midi = mix.normal(size=(6, 10)), mix.normal(size=(6, 8))
    return from_arrays(
        audio_frames=(hidden @ to_audio)[:, None] + 0.1 * rng.normal(size=(n, 3, 10)),
        midi_frames=(hidden @ to_midi)[:, None] + 0.1 * rng.normal(size=(n, 3, 8)),
        score=np.zeros((n, 8)),
        valid=np.ones((n, 8), bool),
        segment=np.arange(n) // 4,
        row=np.arange(n),
        recording=np.arange(n) // 16,
        start_s=6.2 * (np.arange(n) // 4 % 4),
    )


@pytest.fixture(scope="module")
def data() -> ArrayData:
    return ArrayData(pairs(64, 1), pairs(24, 2), 32)


@pytest.mark.parametrize(("loss", "dtype"), [("infonce", "float32"), ("siglip", "float32"), ("infonce", "bfloat16")])
def test_pairs_find_each_other(data, loss, dtype):
    config = AlignConfig(loss=loss, hidden=16, width=8, fit=replace(FIT, compute_dtype=dtype))
    result = fit_projection(data, config)
    audio, midi = project(result, data.validation())
    assert audio.shape == midi.shape == (96, 8)
    np.testing.assert_allclose(np.linalg.norm(audio, axis=1), 1, rtol=1e-4)
    assert alignment(audio, midi) > 0.6
    apart = np.mean([alignment(audio, np.roll(midi, shift, axis=0)) for shift in (4, 8, 20)])
    assert apart < alignment(audio, midi) - 0.4
    nearest = (audio @ midi.T).argmax(axis=1)
    assert np.mean(nearest == np.arange(96)) > 0.5  # its own variant among 96, three of them of its segment
    assert 0.01 <= result.temperature() <= 1.0


def test_aligned_frames_replace_the_encoders(data):
    result = fit_projection(data, AlignConfig(hidden=16, width=8, fit=replace(FIT, epochs=1)))
    rows = concatenate(list(aligned(result, data.validation())))
    assert rows.audio_BxTxC.shape == rows.midi_BxTxC.shape == (96, 3, 8)
    audio, _ = project(result, data.validation())
    mean = rows.audio_BxTxC.mean(axis=1)
    np.testing.assert_allclose(mean / np.linalg.norm(mean, axis=1, keepdims=True), audio, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(rows.row_B, np.arange(96))


def test_a_nan_among_validation_rows_is_an_error(data):
    rows = data.validation_rows
    midi = rows.midi_BxTxC.copy()
    midi[5] = np.nan
    with pytest.raises(NotFinite, match="alignment loss of the validation rows is not finite"):
        fit_projection(
            ArrayData(data.train_rows, rows._replace(midi_BxTxC=midi), 32), AlignConfig(hidden=16, width=8, fit=FIT)
        )


def test_bad_input(data):
    with pytest.raises(BadInput, match="choose infonce or siglip"):
        AlignConfig(loss="triplet")
    blind = ArrayData(data.train_rows._replace(recording_B=None), data.validation_rows, 32)
    with pytest.raises(BadInput, match="alignment needs recording_B"):
        fit_projection(blind, AlignConfig(fit=FIT))
