from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from keybed.heads.data import ArrayData
from keybed.heads.errors import BadInput
from keybed.heads.inputs import pad_rows
from keybed.heads.normalisation import measure, standardise, to_scores


def test_streamed_statistics_are_numpys(small_data):
    n = measure(small_data.train(0), batch_rows=32, max_rows=None)
    rows = small_data.train_rows
    midi = rows.midi_BxTxC[rows.midi_mask_BxT].astype(np.float64)  # masked bins do not count
    mean, inverse = n.features["midi_BxTxC"]
    np.testing.assert_allclose(mean, midi.mean(0), atol=1e-5)
    np.testing.assert_allclose(inverse, 1 / midi.std(0), rtol=1e-4)
    layers = rows.audio_layers_BxSxC.astype(np.float64)
    np.testing.assert_allclose(n.features["audio_layers_BxSxC"][0], layers.mean(0), atol=1e-5)
    np.testing.assert_allclose(n.features["audio_layers_BxSxC"][1], 1 / layers.std(0), rtol=1e-4)
    np.testing.assert_allclose(n.score_mean_K, np.nanmean(rows.score_BxK, axis=0), rtol=1e-5)
    np.testing.assert_allclose(n.score_sd_K, np.nanstd(rows.score_BxK, axis=0), rtol=1e-4)


def test_only_the_first_rows_are_read(small_data):
    read = []

    def counted():
        for batch in small_data.train(0):
            read.append(batch.n_rows)
            yield batch

    measure(counted(), batch_rows=32, max_rows=64)
    assert read == [32, 32]


def test_standardised_batches(small_data):
    n = measure(small_data.train(0), batch_rows=32, max_rows=None)
    batch = small_data.train_rows
    loud = batch._replace(midi_BxTxC=np.where(batch.midi_mask_BxT[:, :, None], batch.midi_BxTxC, np.nan))
    z = standardise(jax_ready(loud), n, jnp.float32)
    audio = np.asarray(z.audio_BxTxC).reshape(-1, 12)
    np.testing.assert_allclose(audio.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(audio.std(0), 1, rtol=1e-4)
    assert (np.asarray(z.midi_BxTxC)[~batch.midi_mask_BxT] == 0).all()
    assert (np.asarray(z.score_BxK)[~batch.valid_BxK] == 0).all()
    np.testing.assert_allclose(
        np.asarray(to_scores(z.score_BxK, n))[batch.valid_BxK], batch.score_BxK[batch.valid_BxK], rtol=1e-5
    )
    assert standardise(jax_ready(batch), n, jnp.bfloat16).audio_BxTxC.dtype == jnp.bfloat16


def jax_ready(batch):
    import jax

    return jax.tree.map(jnp.asarray, batch)


def test_large_offsets_and_constant_channels(make_world):
    """A channel at 1000 ± 1 keeps its standard deviation; a constant one says nothing instead of dividing by 0."""
    rows = make_world(40, 3)
    audio = rows.audio_BxTxC.astype(np.float32)
    audio[..., 0] = 1000 + (audio[..., 0] - 3) / 2
    audio[..., 1] = 5.0
    n = measure(ArrayData(rows._replace(audio_BxTxC=audio), rows, 32).train(0), batch_rows=32, max_rows=None)
    mean, inverse = n.features["audio_BxTxC"]
    assert mean[0] == pytest.approx(audio[..., 0].astype(np.float64).mean(), rel=1e-6)
    assert inverse[0] == pytest.approx(1 / audio[..., 0].astype(np.float64).std(), rel=1e-3)
    assert inverse[1] == 0


def test_nothing_to_measure(small_data):
    with pytest.raises(BadInput, match="no rows"):
        measure([], batch_rows=4, max_rows=None)
    rows = pad_rows(small_data.train_rows, 240)
    with pytest.raises(BadInput, match="midi_BxTxC has no unmasked bin"):
        measure([rows._replace(midi_mask_BxT=np.zeros_like(rows.midi_mask_BxT))], batch_rows=240, max_rows=None)
