from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from keybed.heads.errors import BadInput, CheckpointMismatch
from keybed.heads.fitted import attend, load, predict, save
from keybed.heads.inputs import HeadInput
from keybed.heads.train import fit
from tests.heads.small_heads import SHORT, SMALL, mean_r


class Line(nn.Module):
    """A head of one's own: a straight line on the mean audio bin."""

    @nn.compact
    def __call__(self, batch: HeadInput, train: bool) -> jax.Array:
        return nn.Dense(8)(jnp.mean(batch.audio_BxTxC, axis=1))


def test_a_module_of_ones_own(small_data, tmp_path):
    heads = {"line": Line(), "audio": SMALL["audio"]}
    fitted = fit(heads, small_data, replace(SHORT, epochs=8, learning_rate=5e-2))
    prediction = predict(fitted, small_data.validation())
    assert mean_r(prediction["line"][0], small_data.validation_rows) > 0.6
    save(tmp_path / "heads.npz", fitted)
    with pytest.raises(BadInput, match="'line' is a module of its own"):
        load(tmp_path / "heads.npz")
    again = predict(load(tmp_path / "heads.npz", {"line": Line()}), small_data.validation())
    for name in heads:
        np.testing.assert_array_equal(again[name], prediction[name])


def test_saved_heads_predict_the_same(result, small_data, tmp_path):
    save(tmp_path / "heads.npz", result)
    loaded = load(tmp_path / "heads.npz")
    assert loaded.heads == result.heads
    assert (loaded.store, loaded.best_epoch, loaded.config.seeds) == ("a1", result.best_epoch, (0, 1))
    a, b = predict(result, small_data.validation()), predict(loaded, small_data.validation())
    np.testing.assert_array_equal(a["concat"], b["concat"])
    alone = predict(loaded, small_data.validation(), heads=["concat"])
    assert list(alone) == ["concat"]
    np.testing.assert_allclose(alone["concat"], a["concat"], rtol=1e-5)
    with pytest.raises(CheckpointMismatch, match=r"fitted on store a1, this is store b2"):
        load(tmp_path / "heads.npz", store="b2")
    assert load(tmp_path / "heads.npz", store="a1").store == "a1"
    with pytest.raises(BadInput, match="no head cross in this fit; it has audio, midi, concat"):
        predict(loaded, small_data.validation(), heads=["cross"])


def test_looking_inside(shuffled, shuffled_data):
    cross = attend(shuffled, "cross", shuffled_data.validation(), seed=1)
    assert cross.output.audio_to_midi_BxHxTxT.shape == (100, 2, 6, 6)
    assert cross.output.audio_mix_S.shape == (3,)
    np.testing.assert_array_equal(cross.row_N, np.arange(100))
    prediction = predict(shuffled, shuffled_data.validation())
    np.testing.assert_allclose(cross.output.score_BxK, prediction["cross"][1], rtol=1e-5)
    gate = attend(shuffled, "gated", shuffled_data.validation()).output.gate_BxMxK
    np.testing.assert_allclose(gate.sum(axis=1), np.ones((100, 8)), rtol=1e-5)
