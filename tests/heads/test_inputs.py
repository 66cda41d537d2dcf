from __future__ import annotations

import numpy as np
import pytest

from keybed.heads.errors import BadInput
from keybed.heads.inputs import from_arrays, pad_rows, tier_weights


def test_padding_marks_its_rows(small_data):
    batch = next(small_data.validation())
    padded = pad_rows(batch, 40)
    assert padded.n_rows == 40
    assert not padded.valid_BxK[32:].any()
    assert not padded.midi_mask_BxT[32:].any()
    assert (padded.weight_B[32:] == 0).all()
    assert (padded.row_B[32:] == -1).all()
    assert padded.audio_BxTxC.dtype == np.float16
    with pytest.raises(BadInput, match="32 rows came where at most 16"):
        pad_rows(batch, 16)


def test_arrays_as_a_store_keeps_them():
    frames = np.arange(2 * 3 * 2 * 4).reshape(2, 3, 2, 4).astype(np.float16)
    layers = np.arange(2 * 2 * 5 * 4).reshape(2, 2, 5, 4).astype(np.float16)
    labels = {"score": np.zeros((2, 8)), "valid": np.ones((2, 8)), "segment": np.zeros(2), "row": np.arange(2)}
    batch = from_arrays(audio_frames=frames, audio_layers=layers, **labels)
    assert batch.audio_BxTxC.shape == (2, 3, 8)
    np.testing.assert_array_equal(batch.audio_BxTxC[1, 2, 4:], frames[1, 2, 1])
    assert batch.audio_layers_BxSxC.shape == (2, 5, 8)
    np.testing.assert_array_equal(batch.audio_layers_BxSxC[0, 3, 4:], layers[0, 1, 3])
    assert batch.audio_mask_BxT.all()
    assert batch.midi_BxTxC is None
    with pytest.raises(BadInput, match="row has 2 rows but audio_frames has 3"):
        from_arrays(audio_frames=np.zeros((3, 2, 4)), **labels)


def test_tier_weights_are_the_shares_with_mean_one():
    weight = tier_weights(np.array([0, 1, 2, 3]), (0.30, 0.30, 0.25, 0.15))
    np.testing.assert_allclose(weight, [1.2, 1.2, 1.0, 0.6], rtol=1e-6)
