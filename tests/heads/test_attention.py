"""Attention and its own derivatives, against the plain formulas and JAX's."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from keybed.heads.attention import dot_product_attention, masked_softmax

B, H, Q, T, D = 3, 2, 5, 4, 6


def plain(query, key, value, mask, bias):
    logits = jnp.einsum("bhqd,bhtd->bhqt", query, key) / jnp.sqrt(jnp.float32(D)) + bias[None]
    raised = jnp.exp(jnp.where(mask[:, None, None, :], logits, -jnp.inf))
    weight = raised / jnp.maximum(jnp.sum(raised, axis=-1, keepdims=True), 1e-30)
    return jnp.einsum("bhqt,bhtd->bhqd", weight, value), weight


@pytest.fixture(scope="module")
def given():
    rng = np.random.default_rng(0)
    shapes = ((B, H, Q, D), (B, H, T, D), (B, H, T, D))
    mask = rng.random((B, T)) > 0.3
    mask[0, 0], mask[1] = True, False  # the second row has no valid key
    bias = rng.normal(size=(H, Q, T)).astype(np.float32)
    return [rng.normal(size=s).astype(np.float32) for s in shapes], mask, bias


def test_attention_is_the_plain_formula(given):
    arrays, mask, bias = given
    for ours, theirs in zip(dot_product_attention(*arrays, mask, bias), plain(*arrays, mask, bias), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
        assert not np.asarray(ours[1]).any()


def test_gradients_are_those_of_the_plain_formula(given):
    """By queries, keys, values and bias, through what is found and through the weights."""
    arrays, mask, bias = given
    towards = np.random.default_rng(1).normal(size=(B, H, Q, D)).astype(np.float32)
    which = np.random.default_rng(2).normal(size=(B, H, Q, T)).astype(np.float32)

    def total(attend, *x):
        out, weight = attend(*x[:3], mask, x[3])
        return jnp.sum(out * towards) + jnp.sum(weight * which)

    ours, theirs = (
        jax.grad(lambda *x, f=f: total(f, *x), (0, 1, 2, 3))(*arrays, bias) for f in (dot_product_attention, plain)
    )
    for a, b in zip(ours, theirs, strict=True):
        assert np.abs(b).max() > 0.1
        np.testing.assert_allclose(a, b, atol=1e-5)
    assert not np.asarray(ours[0][1]).any()


def test_softmax_over_nothing_is_nothing():
    logits = jnp.asarray([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], jnp.float32)
    mask = jnp.asarray([[True, False, True], [False, False, False]])
    weight, back = jax.vjp(lambda x: masked_softmax(x, mask), logits)
    np.testing.assert_allclose(weight, [[1 / (1 + np.e**2), 0, 1 / (1 + np.e**-2)], [0, 0, 0]], atol=1e-6)
    change = np.asarray(back(jnp.ones_like(weight) * jnp.asarray([[1.0, 7.0, 0.0]], jnp.float32))[0])
    assert change[0, 1] == 0
    assert not change[1].any()
    assert change[0, 0] == pytest.approx(1 / (1 + np.e**2) / (1 + np.e**-2), rel=1e-5)
