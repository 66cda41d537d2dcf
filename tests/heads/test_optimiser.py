from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax

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
