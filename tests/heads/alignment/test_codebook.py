"""Sparsemax and the shared codebook against plain versions and published examples."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from keybed.heads.alignment import codebook


def slow_sparsemax(z: np.ndarray) -> np.ndarray:
    """Projection onto the simplex by bisection of the threshold."""
    low, high = z.min() - 1, z.max()
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if np.maximum(z - middle, 0).sum() > 1 else (low, middle)
    return np.maximum(z - low, 0)


def test_sparsemax_on_known_cases_and_against_bisection() -> None:
    known = jnp.array([[0.0, 0.0, 0.0, 0.0], [3.0, 1.0, 0.0, -1.0], [1.0, 0.5, 0.0, 0.0], [0.6, 0.4, -9.0, -9.0]])
    expected = [[0.25] * 4, [1, 0, 0, 0], [0.75, 0.25, 0, 0], [0.6, 0.4, 0, 0]]
    np.testing.assert_allclose(codebook.sparsemax(known), expected, atol=1e-6)
    z = np.random.default_rng(0).normal(size=(6, 30)).astype(np.float32)
    weight = np.asarray(codebook.sparsemax(jnp.asarray(z)))
    np.testing.assert_allclose(weight, np.stack([slow_sparsemax(row) for row in z]), atol=1e-5)
    assert (weight == 0).sum() > weight.size / 2


def test_sparsemax_has_the_derivative_of_finite_differences() -> None:
    rng = np.random.default_rng(1)
    z, direction, factor = (rng.normal(size=(1, 9)) for _ in range(3))

    def value(step: float) -> float:
        return float(slow_sparsemax((z + step * direction)[0]) @ factor[0])

    arrays = [jnp.asarray(x, jnp.float32) for x in (z, direction, factor)]
    _, slope = jax.jvp(lambda x: jnp.sum(codebook.sparsemax(x) * arrays[2]), (arrays[0],), (arrays[1],))
    assert slope == pytest.approx((value(1e-4) - value(-1e-4)) / 2e-4, rel=1e-3)


def test_a_clip_is_a_mixture_of_the_codewords_that_its_valid_bins_are_near() -> None:
    rng = np.random.default_rng(2)
    frame, word = rng.normal(size=(3, 4, 5)).astype(np.float32), rng.normal(size=(40, 5)).astype(np.float32)
    mask = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]], bool)
    unit_frame, unit_word = (x / np.linalg.norm(x, axis=-1, keepdims=True) for x in (frame, word))
    expected = np.zeros((3, 40))
    for b in range(2):
        a = [max(unit_frame[b, t] @ unit_word[k] for t in range(4) if mask[b, t]) / 0.1 for k in range(40)]
        expected[b] = slow_sparsemax(np.array(a))
    weight = codebook.codeword_weights(jnp.asarray(frame), jnp.asarray(mask), jnp.asarray(word))
    np.testing.assert_allclose(weight, expected, atol=1e-4)  # 40 codewords, 3 rows of 4 bins: more words than bins
    np.testing.assert_allclose(codebook.mix(weight, jnp.asarray(word)), expected @ unit_word, atol=1e-4)

    def total(frame: jax.Array) -> jax.Array:
        return jnp.sum(
            codebook.mix(codebook.codeword_weights(frame, jnp.asarray(mask), jnp.asarray(word)), jnp.asarray(word)) ** 2
        )

    grad = np.asarray(jax.grad(total)(jnp.asarray(frame)))
    assert np.isfinite(grad).all()
    assert grad[0].any()
    assert not grad[1, 2:].any()
    assert not grad[2].any()
