from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from keybed.heads import contrast, losses
from keybed.heads.inputs import from_arrays

RNG = np.random.default_rng(0)
N, K = 24, 8
P, S = (RNG.normal(size=(N, K)).astype(np.float32) for _ in range(2))
W = (RNG.uniform(0.5, 2, (N, 1)) * (RNG.random((N, K)) > 0.2)).astype(np.float32)
SEGMENT = (np.arange(N) // 4).astype(np.int32)


def test_huber_is_optax_and_the_plain_formula():
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        each = np.asarray(optax.huber_loss(2 * P, S, delta=0.7))
    found = losses.huber(2 * P, S, jnp.asarray(W), 0.7)
    assert found == pytest.approx(float((W * each).sum() / W.sum()), rel=1e-5)
    total = 0.0
    for i in range(N):
        for k in range(K):
            e = abs(2 * P[i, k] - S[i, k])
            total += W[i, k] * (0.5 * e * e if e <= 0.7 else 0.7 * (e - 0.35))
    assert found == pytest.approx(total / W.sum(), rel=1e-5)


def slow_ccc(p, s, w):
    mp, ms = np.average(p, weights=w), np.average(s, weights=w)
    vp, vs = np.average((p - mp) ** 2, weights=w), np.average((s - ms) ** 2, weights=w)
    return 2 * np.average((p - mp) * (s - ms), weights=w) / (vp + vs + (mp - ms) ** 2)


def test_ccc_loss_is_the_plain_formula():
    expected = np.mean([1 - slow_ccc(P[:, k], S[:, k], W[:, k]) for k in range(K)])
    assert losses.ccc_loss(jnp.asarray(P), jnp.asarray(S), jnp.asarray(W)) == pytest.approx(expected, rel=1e-4)
    only = W.copy()
    only[:, 1:] = 0  # one dimension has labels
    found = losses.ccc_loss(jnp.asarray(P), jnp.asarray(S), jnp.asarray(only))
    assert found == pytest.approx(1 - slow_ccc(P[:, 0], S[:, 0], W[:, 0]), rel=1e-4)


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
    assert losses.ranking_loss(*arrays) == pytest.approx(expected, rel=1e-5)
    assert losses.variant_ranking_loss(*arrays, reach=3) == pytest.approx(expected, rel=1e-5)
    full = optax.losses.ranking_softmax_loss  # another library's has another form; the pair of two is the same
    pair = np.array([[0.3], [-0.4]], np.float32)
    listwise = full(jnp.asarray(pair[:, 0]), jnp.asarray([1.0, 0.0]), reduce_fn=jnp.sum)
    ours = losses.ranking_loss(
        jnp.asarray(pair), jnp.asarray([[1.0], [0.0]]), jnp.ones((2, 1)), jnp.zeros(2, jnp.int32)
    )
    assert ours == pytest.approx(float(listwise), rel=1e-5)


def test_padding_and_masked_nan_change_nothing_and_gradients_stay_finite():
    weights = losses.LossWeights()
    valid = W > 0
    args = (np.where(valid, S, np.nan).astype(np.float32), valid, W.max(1), SEGMENT)
    plain = losses.combined(jnp.asarray(P), *map(jnp.asarray, args), weights)
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
    value, gradient = jax.value_and_grad(lambda p: losses.combined(p, *map(jnp.asarray, grow[1:]), weights))(
        jnp.asarray(grow[0])
    )
    assert value == pytest.approx(float(plain), rel=1e-6)
    assert np.isfinite(gradient).all()
    assert (np.asarray(gradient)[N:] == 0).all()
    assert (np.asarray(gradient)[:N][~valid] == 0).all()


def test_a_batch_without_labels_costs_nothing():
    nothing = (jnp.asarray(S), jnp.zeros((N, K), bool), jnp.ones(N), jnp.asarray(SEGMENT), losses.LossWeights())
    value, gradient = jax.value_and_grad(lambda p: losses.combined(p, *nothing))(jnp.asarray(P))
    assert value == 0
    assert (np.asarray(gradient) == 0).all()


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
    found = contrast.info_nce(*arrays, log_t, jnp.asarray(excluded), jnp.asarray(weight))
    assert found == pytest.approx(slow_info_nce(a, m, 0.2, excluded, weight), rel=1e-5)
    found = contrast.siglip(*arrays, log_t, jnp.float32(-2), jnp.asarray(excluded), jnp.asarray(weight))
    assert found == pytest.approx(slow_siglip(a, m, 0.2, -2, excluded, weight), rel=1e-5)

    nothing, ones = jnp.zeros((12, 12), bool), jnp.ones(12)
    logits = arrays[0] @ arrays[1].T / 0.2
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        there = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.arange(12)).mean()
        back = optax.softmax_cross_entropy_with_integer_labels(logits.T, jnp.arange(12)).mean()
        pairs = optax.sigmoid_binary_cross_entropy(logits - 2, jnp.eye(12)).sum() / 12
    assert contrast.info_nce(*arrays, log_t, nothing, ones) == pytest.approx(float((there + back) / 2), rel=1e-5)
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
