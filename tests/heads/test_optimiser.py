from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax

from keybed.heads.fit_config import FitConfig
from keybed.heads.optimiser import FlatAdamW


def tree(seed: int):
    rng = np.random.default_rng(seed)

    def leaf(*shape):
        return jnp.asarray(rng.normal(size=shape), jnp.float32)

    return {n: {"dense": {"kernel": leaf(4, 3), "bias": leaf(3)}, "cross": {"offset": leaf(2, 5)}} for n in ("a", "b")}


def test_equals_optax_model_by_model():
    """clip → AdamW with decay of matrices alone, each model by its own gradient norm, for three steps."""
    ours, theirs = tree(0), tree(0)
    optimiser = FlatAdamW(weight_decay=0.1, clip_norm=1.5)
    state = optimiser.init(ours)
    decayed = {"dense": {"kernel": True, "bias": False}, "cross": {"offset": False}}
    plain = optax.chain(optax.clip_by_global_norm(1.5), optax.adamw(0.02, weight_decay=0.1, mask=decayed))
    with jax.numpy_dtype_promotion("standard"):
        states = {n: plain.init(p) for n, p in theirs.items()}
    for i in range(3):
        grads = tree(10 + i)
        grads["b"] = jax.tree.map(lambda g: 1e-2 * g, grads["b"])  # one is clipped, one is not
        ours, state = optimiser.update(grads, state, ours, jnp.float32(0.02))
        with jax.numpy_dtype_promotion("standard"):
            for n in theirs:
                updates, states[n] = plain.update(grads[n], states[n], theirs[n])
                theirs[n] = optax.apply_updates(theirs[n], updates)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_rates_rise_then_fall_along_a_cosine():
    rate = FitConfig(learning_rate=1e-3, warmup=0.1).rates(1000)
    assert len(rate) == 1024
    np.testing.assert_allclose(rate[:100], 1e-3 * np.arange(1, 101) / 100, rtol=1e-5)
    middle = 0.5e-3 * (1 + np.cos(np.pi * np.arange(1, 901) / 900))
    np.testing.assert_allclose(rate[100:1000], middle, rtol=1e-3, atol=1e-9)
    assert (rate[1000:] == rate[999]).all()
    assert np.isfinite(FitConfig(epochs=1).rates(1)).all()
