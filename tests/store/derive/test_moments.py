"""One pass over blocks against plain NumPy in float64 on everything at once."""

from __future__ import annotations

import numpy as np
import pytest

from keybed.store.derive.derivations import _runs
from keybed.store.derive.moments import Units, finished, sums_of_block

BLOCKS = (400, 1, 700, 399)


def data() -> np.ndarray:
    """float16 numbers as a store holds them: correlated, far from zero, very different in size, one channel constant."""
    random = np.random.default_rng(3)
    mixed = random.normal(size=(sum(BLOCKS), 6)) @ random.normal(size=(6, 6))
    x = mixed * [1e-2, 1, 30, 1, 1, 1] + [0, 900, -2000, 40, 0, 0]
    x[:, 4] = 0.3
    return x.astype(np.float16).astype(np.float32)


def units(first: np.ndarray) -> Units:
    spread = first.std(axis=0)
    return Units(first.mean(axis=0, dtype=np.float64).astype(np.float32), np.where(spread > 0, spread, 1))


def in_blocks(x: np.ndarray, measured_in: Units, with_products: bool = True):
    first, *others = np.split(x, np.cumsum(BLOCKS)[:-1])
    sums = sums_of_block(first.copy(), measured_in, with_products)
    for other in others:
        sums = sums.plus(sums_of_block(other.copy(), measured_in, with_products))
    return finished(sums, measured_in)


@pytest.mark.parametrize("with_products", [True, False])
def test_moments_are_those_of_all_blocks_together(with_products):
    x = data()
    found = in_blocks(x, units(x[: BLOCKS[0]]), with_products)
    exact = x.astype(np.float64)
    assert found.n == len(x)
    np.testing.assert_allclose(found.mean, exact.mean(axis=0), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(found.std, exact.std(axis=0), rtol=2e-6)
    rounding = np.spacing(np.abs(found.mean))
    assert (np.abs(found.reach - np.abs(exact - exact.mean(axis=0)).max(axis=0)) <= rounding + 1e-6 * found.reach).all()
    assert (found.correlation is not None) == with_products


def test_correlations_are_numpys_and_a_constant_number_has_none():
    x = data()
    found = in_blocks(x, units(x[: BLOCKS[0]]))
    assert found.std[4] == 0
    expected = np.zeros((6, 6))
    varying = [0, 1, 2, 3, 5]
    expected[np.ix_(varying, varying)] = np.corrcoef(x[:, varying].astype(np.float64).T)
    np.testing.assert_allclose(found.correlation, expected, atol=2e-6)


def test_a_first_block_unlike_the_others_costs_little():
    """Units of a block that lies ten deviations off, as no random sample does: the mean's square is subtracted all the same."""
    x = data()
    honest = units(x)
    far = Units(honest.centre + 10 * honest.scale, honest.scale / 3)
    np.testing.assert_allclose(in_blocks(x, far).std, x.astype(np.float64).std(axis=0), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("n_shards", [1, 5, 64, 446])
@pytest.mark.parametrize("n_numbers", [0, 1536, 4096, 40_000])
def test_runs_cover_every_shard_once_and_their_products_fit(n_shards, n_numbers):
    runs = _runs(range(n_shards), n_numbers)
    assert [shard for run in runs for shard in run] == list(range(n_shards))
    assert all(len(run) for run in runs)
    assert len(runs) <= 64
    assert len(runs) == 1 or len(runs) * 8 * n_numbers**2 <= 2**30
