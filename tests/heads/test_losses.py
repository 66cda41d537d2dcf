from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from keybed.heads import losses

RNG = np.random.default_rng(0)
N, K = 24, 8
P, S = (RNG.normal(size=(N, K)).astype(np.float32) for _ in range(2))
W = (RNG.uniform(0.5, 2, (N, 1)) * (RNG.random((N, K)) > 0.2)).astype(np.float32)
SEGMENT = (np.arange(N) // 4).astype(np.int32)

# Compiled as a whole: op by op, each of their slices is a program of its own.
ranking_loss = jax.jit(losses.ranking_loss, static_argnames="reach")
combined = jax.jit(losses.combined, static_argnums=5)


def test_huber_is_optax_and_the_plain_formula():
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        each = np.asarray(optax.huber_loss(2 * P, S, delta=0.7))
    loss = losses.huber(2 * P, S, jnp.asarray(W), 0.7)
    assert loss == pytest.approx(float((W * each).sum() / W.sum()), rel=1e-5)
    total = 0.0
    for i in range(N):
        for k in range(K):
            e = abs(2 * P[i, k] - S[i, k])
            total += W[i, k] * (0.5 * e * e if e <= 0.7 else 0.7 * (e - 0.35))
    assert loss == pytest.approx(total / W.sum(), rel=1e-5)


def slow_ccc(p, s, w):
    mp, ms = np.average(p, weights=w), np.average(s, weights=w)
    vp, vs = np.average((p - mp) ** 2, weights=w), np.average((s - ms) ** 2, weights=w)
    return 2 * np.average((p - mp) * (s - ms), weights=w) / (vp + vs + (mp - ms) ** 2)


def test_ccc_loss_is_the_plain_formula():
    expected = np.mean([1 - slow_ccc(P[:, k], S[:, k], W[:, k]) for k in range(K)])
    assert losses.ccc_loss(jnp.asarray(P), jnp.asarray(S), jnp.asarray(W)) == pytest.approx(expected, rel=1e-4)
    only = W.copy()
    only[:, 1:] = 0  # one dimension has labels
    loss = losses.ccc_loss(jnp.asarray(P), jnp.asarray(S), jnp.asarray(only))
    assert loss == pytest.approx(1 - slow_ccc(P[:, 0], S[:, 0], W[:, 0]), rel=1e-4)


def slow_ranking(p, s, w, segment):
    lost = total = 0.0
    for i in range(len(p)):
        for j in range(len(p)):
            for k in range(K):
                if segment[i] == segment[j] >= 0 and s[i, k] > s[j, k] and w[i, k] * w[j, k] > 0:
                    lost += w[i, k] * w[j, k] * np.log1p(np.exp(p[j, k] - p[i, k]))
                    total += w[i, k] * w[j, k]
    return lost / total


def test_ranking_is_the_plain_double_loop():
    tied = np.round(S, 0)
    expected = slow_ranking(P, tied, W, SEGMENT)
    arrays = [jnp.asarray(a) for a in (P, tied, W, SEGMENT)]
    assert ranking_loss(*arrays, reach=len(P)) == pytest.approx(expected, rel=1e-5)
    assert ranking_loss(*arrays, reach=3) == pytest.approx(expected, rel=1e-5)
    full = optax.losses.ranking_softmax_loss  # another library's has another form; the pair of two is the same
    pair = np.array([[0.3], [-0.4]], np.float32)
    listwise = full(jnp.asarray(pair[:, 0]), jnp.asarray([1.0, 0.0]), reduce_fn=jnp.sum)
    ours = ranking_loss(
        jnp.asarray(pair), jnp.asarray([[1.0], [0.0]]), jnp.ones((2, 1)), jnp.zeros(2, jnp.int32), reach=1
    )
    assert ours == pytest.approx(float(listwise), rel=1e-5)


def test_padding_and_masked_nan_change_nothing_and_gradients_stay_finite():
    weights = losses.LossWeights()
    valid = W > 0
    args = (np.where(valid, S, np.nan).astype(np.float32), valid, W.max(1), SEGMENT)
    plain = combined(jnp.asarray(P), *map(jnp.asarray, args), weights)
    grow = [
        np.concatenate([a, f])
        for a, f in zip(
            (P, *args),
            (
                np.full((3, K), 7, np.float32),
                np.full((3, K), np.nan, np.float32),
                np.zeros((3, K), bool),
                np.zeros(3, np.float32),
                np.full(3, -1, np.int32),
            ),
            strict=True,
        )
    ]
    value, gradient = jax.value_and_grad(lambda p: combined(p, *map(jnp.asarray, grow[1:]), weights))(
        jnp.asarray(grow[0])
    )
    assert value == pytest.approx(float(plain), rel=1e-6)
    assert np.isfinite(gradient).all()
    assert (np.asarray(gradient)[N:] == 0).all()
    assert (np.asarray(gradient)[:N][~valid] == 0).all()


def test_a_batch_without_labels_costs_nothing():
    nothing = (jnp.asarray(S), jnp.zeros((N, K), bool), jnp.ones(N), jnp.asarray(SEGMENT), losses.LossWeights())
    value, gradient = jax.value_and_grad(lambda p: combined(p, *nothing))(jnp.asarray(P))
    assert value == 0
    assert (np.asarray(gradient) == 0).all()
