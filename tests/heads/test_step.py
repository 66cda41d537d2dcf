from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from keybed.heads import step as steps
from keybed.heads.data import Resident
from keybed.heads.losses import LossWeights
from keybed.heads.models import HEADS, HeadConfig
from keybed.heads.normalisation import measure
from keybed.heads.train import ScoreRegression
from keybed.heads.train_loop import CHUNK_STEPS
from tests.heads.small_heads import CONFIG, SMALL


def test_scan_is_the_streamed_step(small_data):
    """The same batches give the same state, whether they come one by one or by scan over resident rows."""
    recipe = steps.Recipe(ScoreRegression(tuple(SMALL.items()), LossWeights()), steps.FlatAdamW(0.01, 1.0), "float32")
    resident = Resident.load(small_data, replace(CONFIG, resident_bytes=10**8), True)
    rates = np.full(1024, 1e-2, np.float32)
    rows, given = resident.rows, measure([small_data.train_rows], batch_rows=240, max_rows=None)
    schedule = steps.Schedule(np.array([1], np.uint32), rates, given)
    index = np.full((CHUNK_STEPS, 32), -1, np.int32)
    index.flat[:80] = np.random.default_rng(0).permutation(80)  # the third batch is half padded, the others wholly
    scanned, losses = steps.scan(recipe, steps.fresh(recipe, schedule, rows), rows, index, schedule)
    state = steps.fresh(recipe, schedule, rows)
    for i in range(3):
        batch = {"rows": steps._gather(jax.tree.map(jnp.asarray, rows), jnp.asarray(index[i]))}
        state, one = steps.step(recipe, state, batch, schedule)
        np.testing.assert_allclose(losses["concat"][i], one["concat"], rtol=1e-4)
    assert int(scanned.step) == int(state.step) == 3
    for a, b in zip(jax.tree.leaves(scanned.params), jax.tree.leaves(state.params), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def test_the_step_adds_in_a_fixed_order(small_data):
    """No scatter: a GPU takes its sums in any order, and a resumed run would differ in the last bits."""
    five = tuple((kind, HeadConfig(kind, 16, 2)) for kind in HEADS)
    recipe = steps.Recipe(ScoreRegression(five, LossWeights()), steps.FlatAdamW(0.01, 1.0), "float32")
    rows = small_data.train_rows
    given = measure([rows], batch_rows=240, max_rows=None)
    schedule = steps.Schedule(np.array([0], np.uint32), np.full(1024, 1e-2, np.float32), given)
    text = steps.step.lower(recipe, steps.fresh(recipe, schedule, rows), {"rows": rows}, schedule).as_text()
    assert "dot_general" in text
    assert "scatter" not in text
