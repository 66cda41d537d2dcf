from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from keybed.heads import contrast
from keybed.heads.inputs import from_arrays

RNG = np.random.default_rng(0)


def unit(n, d, seed):
    x = np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def slow_info_nce(a, m, temperature, excluded, weight):
    total = 0.0
    for i in range(len(a)):
        if not weight[i]:
            continue
        for x, y, out in ((a, m, excluded), (m, a, excluded.T)):
            logits = [x[i] @ y[j] / temperature for j in range(len(a)) if weight[j] and (j == i or not out[i, j])]
            total += 0.5 * weight[i] * (np.log(np.sum(np.exp(logits))) - x[i] @ y[i] / temperature)
    return total / weight.sum()


def slow_siglip(a, m, temperature, bias, excluded, weight):
    total = 0.0
    for i in range(len(a)):
        for j in range(len(a)):
            if weight[i] and weight[j] and (i == j or not excluded[i, j]):
                z = (1 if i == j else -1) * (a[i] @ m[j] / temperature + bias)
                total += weight[i] * np.log1p(np.exp(-z))
    return total / weight.sum()


def test_contrastive_losses_against_plain_loops_and_optax():
    a, m = unit(12, 6, 1), unit(12, 6, 2)
    excluded = np.random.default_rng(3).random((12, 12)) < 0.2
    excluded |= excluded.T
    np.fill_diagonal(excluded, False)
    weight = np.ones(12, np.float32)
    weight[10:] = 0
    log_t = jnp.log(jnp.float32(0.2))
    arrays = [jnp.asarray(x) for x in (a, m)]
    loss = contrast.info_nce(*arrays, log_t, jnp.asarray(excluded), jnp.asarray(weight))
    assert loss == pytest.approx(slow_info_nce(a, m, 0.2, excluded, weight), rel=1e-5)
    loss = contrast.siglip(*arrays, log_t, jnp.float32(-2), jnp.asarray(excluded), jnp.asarray(weight))
    assert loss == pytest.approx(slow_siglip(a, m, 0.2, -2, excluded, weight), rel=1e-5)

    nothing, ones = jnp.zeros((12, 12), bool), jnp.ones(12)
    logits = arrays[0] @ arrays[1].T / 0.2
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        backward = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.arange(12)).mean()
        back = optax.softmax_cross_entropy_with_integer_labels(logits.T, jnp.arange(12)).mean()
        pairs = optax.sigmoid_binary_cross_entropy(logits - 2, jnp.eye(12)).sum() / 12
    assert contrast.info_nce(*arrays, log_t, nothing, ones) == pytest.approx(float((backward + back) / 2), rel=1e-5)
    assert contrast.siglip(*arrays, log_t, jnp.float32(-2), nothing, ones) == pytest.approx(float(pairs), rel=1e-5)


def test_temperature_is_clamped():
    assert contrast.clamped_temperature(jnp.float32(-20)) == pytest.approx(0.01)
    assert contrast.clamped_temperature(jnp.float32(5)) == 1.0
    assert jax.grad(contrast.clamped_temperature)(jnp.float32(-20)) == 0


def test_excluded_pairs():
    """Same-segment variants stay negatives; overlapping windows and bit-identical variants do not."""
    audio = RNG.normal(size=(7, 2, 3)).astype(np.float16)
    midi = RNG.normal(size=(7, 2, 3)).astype(np.float16)
    midi[1] = midi[0]  # the same notes, another tone
    batch = from_arrays(
        audio_frames=audio,
        midi_frames=midi,
        score=np.zeros((7, 8)),
        valid=np.ones((7, 8), bool),
        row=np.arange(7),
        segment=np.array([0, 0, 0, 1, 2, 3, 4]),
        recording=np.array([5, 5, 5, 5, 5, 6, 5]),
        start_s=np.array([0, 0, 0, 6.2, 12.4, 6.2, 10.0]),
    )
    excluded = contrast.excluded_pairs(batch, window_s=10.0)
    expected = np.zeros((7, 7), bool)
    for i, j in [(0, 1), (0, 3), (1, 3), (2, 3), (3, 4), (3, 6), (4, 6)]:
        expected[i, j] = expected[j, i] = True
    np.testing.assert_array_equal(excluded, expected)
