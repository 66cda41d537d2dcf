from __future__ import annotations

import threading

import jax
import numpy as np
import pytest

from keybed.heads.data import ArrayData, Resident, ValidationOnDevice, read_ahead, segment_order
from keybed.heads.fit_config import FitConfig
from keybed.heads.inputs import concatenate, pad_rows, take_rows


def test_read_ahead_keeps_order_and_hands_errors_over():
    assert list(read_ahead(range(50), 3)) == list(range(50))
    assert list(read_ahead(range(5), 0)) == list(range(5))

    def broken():
        yield 1
        raise OSError("disk gone")

    stream = read_ahead(broken(), 2)
    assert next(stream) == 1
    with pytest.raises(OSError, match="disk gone"):
        next(stream)


def test_read_ahead_is_bounded_and_leaves_no_thread():
    taken = []

    def items():
        for i in range(1000):
            taken.append(i)
            yield i

    stream = read_ahead(items(), 2)
    assert next(stream) == 0
    stream.close()
    assert len(taken) <= 5
    assert not [t for t in threading.enumerate() if t.name == "read-ahead"]


def test_epochs_are_permutations_that_keep_segments_together(small_data):
    rows = [concatenate(list(small_data.train(e))) for e in (0, 0, 1)]
    np.testing.assert_array_equal(rows[0].row_B, rows[1].row_B)
    assert not np.array_equal(rows[0].row_B, rows[2].row_B)
    np.testing.assert_array_equal(np.sort(rows[2].row_B), np.arange(240))
    np.testing.assert_array_equal(rows[2].row_B.reshape(-1, 4) // 4, rows[2].segment_B.reshape(-1, 4))
    i = rows[2].row_B[5]
    np.testing.assert_array_equal(rows[2].midi_BxTxC[5], small_data.train_rows.midi_BxTxC[i])
    validation = concatenate(list(small_data.validation()))
    np.testing.assert_array_equal(validation.row_B, np.arange(100))
    assert len(segment_order(np.zeros(0, int), np.random.default_rng(0))) == 0


def test_resident_epochs_hold_every_row_once(small_data):
    resident = Resident.load(small_data, FitConfig(batch_rows=32), True)
    index = resident.epoch(3)
    np.testing.assert_array_equal(np.asarray(resident.rows.row_B)[:240], resident.row)
    assert index.shape == (8, 32)
    np.testing.assert_array_equal(np.sort(index[index >= 0]), np.arange(240))
    assert (index[-1, 16:] == -1).all()
    assert Resident.load(small_data, FitConfig(batch_rows=32, resident_bytes=1000), True) is None
    assert Resident.load(small_data, FitConfig(batch_rows=32), False) is None


def test_resident_epochs_are_the_streamed_ones(small_data):
    """The same rows in the same order as ArrayData gives them, by its seed; rows of padding on the way leave no gap."""

    class Filled(ArrayData):
        """As folds of unequal size come: rows of padding after the first batch and at the end."""

        def train(self, epoch):
            for i, batch in enumerate(super().train(epoch)):
                yield pad_rows(take_rows(batch, slice(0, 28)), 32) if i == 0 else batch
                if i == 0:
                    yield take_rows(batch, slice(28, 32))
            yield pad_rows(take_rows(batch, slice(0, 0)), 16)

    orders = []
    for seed in (0, 1):
        data = Filled(small_data.train_rows, small_data.validation_rows, 32, seed)
        resident = Resident.load(data, FitConfig(batch_rows=32), True)
        streamed = concatenate(list(ArrayData(small_data.train_rows, small_data.validation_rows, 32, seed).train(2)))
        index = resident.epoch(2)
        taken = take_rows(resident.rows, index[index >= 0])
        for name in ("row_B", "audio_BxTxC", "midi_mask_BxT", "score_BxK"):
            np.testing.assert_array_equal(getattr(taken, name), getattr(streamed, name))
        orders.append(streamed.row_B)
    assert not np.array_equal(*orders)


def test_validation_on_the_device_holds_the_same_rows(small_data):
    config = FitConfig(batch_rows=32)
    resident = Resident.load(small_data, config, True)
    kept = ValidationOnDevice.load(small_data, config, resident)
    assert isinstance(kept, ValidationOnDevice)
    assert (kept.n_train_rows, kept.seed) == (small_data.n_train_rows, small_data.seed)
    once, again, read = (concatenate(list(d.validation())) for d in (kept, kept, small_data))
    # 100 rows in batches of 32: the last one is padded
    np.testing.assert_array_equal(once.row_B, [*range(100), *[-1] * 28])
    assert all(isinstance(batch.audio_BxTxC, jax.Array) for batch in kept.batches)
    assert all(isinstance(batch.score_BxK, np.ndarray) for batch in kept.batches)
    for name in ("audio_BxTxC", "midi_BxTxC", "audio_mask_BxT", "score_BxK", "valid_BxK"):
        np.testing.assert_array_equal(getattr(once, name)[:100], getattr(read, name))
        np.testing.assert_array_equal(getattr(once, name), getattr(again, name))


def test_validation_that_does_not_fit_beside_the_training_rows_is_read_each_time(small_data):
    resident = Resident.load(small_data, FitConfig(batch_rows=32), True)
    taken = sum(leaf.nbytes for leaf in jax.tree.leaves(resident.rows))
    full = FitConfig(batch_rows=32, resident_bytes=taken + 1000)
    assert ValidationOnDevice.load(small_data, full, resident) is small_data
    assert ValidationOnDevice.load(small_data, FitConfig(batch_rows=32), None) is small_data
