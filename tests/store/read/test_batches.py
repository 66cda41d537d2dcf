"""Batches: every row once, the same order from the same seed, within the stated memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from keybed import store
from keybed.store import errors


@pytest.fixture
def features():
    return ["audio/a/frames", "midi/m/layers[state=1]", "midi/m/mask"]


def order(batches):
    return np.concatenate([batch.rows.index for batch in batches])


@pytest.mark.parametrize("seed", [None, 0, 7])
@pytest.mark.parametrize("batch_rows", [1, 16, 33, 1000])
def test_every_row_comes_once_with_its_own_features(whole_store, features, seed, batch_rows):
    rows = whole_store.rows(tiers=["pristine", "good", "poor"])
    expected = {name: whole_store.read(name, np.arange(whole_store.n_rows)) for name in features}
    got = list(whole_store.batches(features, rows, batch_rows, seed=seed, buffer_rows=64))
    index = order(got)
    np.testing.assert_array_equal(np.sort(index), rows.index)
    assert [len(batch) for batch in got[:-1]] == [batch_rows] * (len(got) - 1)
    if seed is None:
        np.testing.assert_array_equal(index, rows.index)
    else:
        assert not np.array_equal(index, rows.index)
    for batch in got:
        for name in features:
            np.testing.assert_array_equal(batch.features[name], expected[name][batch.rows.index])
        np.testing.assert_array_equal(batch.rows.tier, batch.rows.index % 4)


def test_the_order_depends_on_seed_and_epoch_and_not_on_features(whole_store, features):
    rows = whole_store.rows()

    def run(names, **keys):
        return order(whole_store.batches(names, rows, 16, **keys))

    reference = run(features, seed=1, epoch=3)
    np.testing.assert_array_equal(run(["audio/a/layers"], seed=1, epoch=3), reference)
    assert not np.array_equal(run(features, seed=1, epoch=4), reference)
    assert not np.array_equal(run(features, seed=2, epoch=3), reference)


def test_drop_last_and_empty_selections(whole_store, features):
    rows = whole_store.rows()
    assert [len(b) for b in whole_store.batches(features, rows, 40, seed=0, drop_last=True)] == [40, 40, 40]
    assert list(whole_store.batches(features, rows.take([]), 40, seed=0)) == []
    with pytest.raises(errors.NoSuchFeature):
        whole_store.batches(["audio/none"], rows, 40, seed=0)


def test_any_order_of_rows_is_kept_without_a_seed(whole_store, features):
    rows = whole_store.rows()
    mixed = rows.take(np.random.default_rng(0).permutation(len(rows)))
    got = order(whole_store.batches(features, mixed, 32, seed=None, buffer_rows=32))
    np.testing.assert_array_equal(got, mixed.index)


def test_a_first_batch_does_not_wait_for_the_epoch_and_may_be_the_only_one(whole_store, features):
    stream = whole_store.batches(features, whole_store.rows(), 8, seed=0)
    assert len(next(stream)) == 8
    stream.close()


def test_shuffled_rows_mix_shards(whole_store):
    rows = whole_store.rows()
    first = next(whole_store.batches(["row/score"], rows, 32, seed=0, buffer_rows=64))
    assert len(set((first.rows.index // 32).tolist())) == 2


def test_memory_stays_within_two_buffers_and_a_batch(tmp_path, synthetic):
    """Bytes allocated by NumPy during an epoch, against the bound in the docstring."""
    import dataclasses

    wide = dataclasses.replace(
        synthetic, n_rows=512, failed=(), encoders=(dataclasses.replace(synthetic.encoders[0], width=512),)
    )
    opened = wide.fill(wide.create(tmp_path / "S"))
    rows = opened.rows()
    row_bytes = 4 * 2 * 512 * 2
    tracemalloc.start()
    try:
        for _ in opened.batches(["audio/a/frames"], rows, 16, seed=0, buffer_rows=64):
            pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < (2 * 64 + 2 * 16) * row_bytes + 400_000


def test_damage_reaches_the_training_loop_as_an_error(filled, features):
    rows = filled.rows()
    file = filled.path / "features.zarr/audio/a/frames/c.3.0.0.0"
    data = bytearray(file.read_bytes())
    data[len(data) // 3] ^= 4
    file.write_bytes(data)
    with pytest.raises(errors.ShardDamaged, match=r"audio/a/frames cannot be decoded.*--repair"):
        for _ in store.open(filled.path).batches(features, rows, 16, seed=0):
            pass
