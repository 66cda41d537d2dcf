from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from keybed.heads.attention import Pooling, Tokens, dot_product_attention, masked_softmax, pool, relative_bias
from keybed.heads.errors import BadInput
from keybed.heads.inputs import HeadInput, pad_rows, take_rows
from keybed.heads.models import HEADS, HeadConfig, apply, apply_all, init

CONFIGS = {k: HeadConfig(k, hidden=8, n_attention_heads=2, inputs="both") for k in HEADS}


@pytest.fixture(scope="module")
def batch(make_world) -> HeadInput:
    rows = make_world(4, 5)
    floats = {k: v.astype(np.float32) for k, v in rows._asdict().items() if k.endswith("xC")}
    mask = rows.midi_mask_BxT.copy()
    mask[0] = False  # a row without one MIDI bin
    return rows._replace(**floats, midi_mask_BxT=mask)


@pytest.fixture(scope="module")
def params(batch):
    """Random everywhere, so that nothing is zero by its initial value."""
    fresh = jax.jit(lambda: {n: init(c, jax.random.key(0), batch) for n, c in CONFIGS.items()})()
    leaves, tree = jax.tree.flatten(fresh)
    rng = np.random.default_rng(0)
    return jax.tree.unflatten(
        tree, [jnp.asarray(leaf + 0.3 * rng.normal(size=leaf.shape).astype("f")) for leaf in leaves]
    )


@pytest.fixture(scope="module")
def forward(params):
    return jax.jit(partial(apply_all, CONFIGS))


def test_attention_against_a_plain_loop():
    rng = np.random.default_rng(0)
    q, k, v = (rng.normal(size=(2, 3, 2, 4)).astype(np.float32) for _ in range(3))  # row, bin, head, channel
    mask = np.array([[True, False, True], [False, False, False]])
    bias = rng.normal(size=(2, 3, 3)).astype(np.float32)
    by_head = [jnp.asarray(x.swapaxes(1, 2)) for x in (q, k, v)]
    out, weight = dot_product_attention(*by_head, jnp.asarray(mask), jnp.asarray(bias))
    out = np.asarray(out).swapaxes(1, 2)
    for h in range(2):
        for i in range(3):
            logits = np.array([q[0, i, h] @ k[0, j, h] / 2 + bias[h, i, j] for j in (0, 2)])
            w = np.exp(logits) / np.exp(logits).sum()
            np.testing.assert_allclose(weight[0, h, i], [w[0], 0, w[1]], rtol=1e-5, atol=1e-7)
            np.testing.assert_allclose(out[0, i, h], w[0] * v[0, 0, h] + w[1] * v[0, 2, h], rtol=1e-4)
    assert (np.asarray(out[1]) == 0).all()  # nothing to look at
    np.testing.assert_allclose(masked_softmax(jnp.zeros(4), jnp.arange(4) < 3), [1 / 3, 1 / 3, 1 / 3, 0], rtol=1e-6)
    pooled, _ = pool(jnp.asarray(v), jnp.zeros((2, 3, 2)), jnp.asarray(mask))
    np.testing.assert_allclose(pooled[0], (v[0, 0] + v[0, 2]) / 2, rtol=1e-5)


def test_statistics_pooling_gives_mean_and_standard_deviation_of_the_valid_bins():
    token = np.random.default_rng(0).normal(size=(3, 6, 4)).astype(np.float32)
    mask = np.ones((3, 6), bool)
    mask[0, 4:], mask[2] = False, False
    pooling = Pooling(2, spread=True)
    tokens = Tokens(jnp.asarray(token), jnp.asarray(mask))
    pooled, weight = pooling.apply(pooling.init(jax.random.key(0), tokens), tokens)
    assert pooled.shape == (3, 8)
    np.testing.assert_allclose(weight[0], np.tile([0.25] * 4 + [0, 0], (2, 1)), rtol=1e-6)
    np.testing.assert_allclose(pooled[0, :4], token[0, :4].mean(0), rtol=1e-5)
    np.testing.assert_allclose(pooled[0, 4:], np.sqrt(token[0, :4].var(0) + 1e-4), rtol=1e-5)
    np.testing.assert_allclose(pooled[1, 4:], np.sqrt(token[1].var(0) + 1e-4), rtol=1e-5)
    np.testing.assert_allclose(pooled[2], [0] * 4 + [0.01] * 4, rtol=1e-5)  # no valid bin

    def total(value):
        tokens_now = Tokens(value, jnp.asarray(mask))
        return pooling.apply(pooling.init(jax.random.key(0), tokens), tokens_now)[0].sum()

    assert np.isfinite(jax.grad(total)(jnp.ones((3, 6, 4)))).all()  # constant in time: the spread is 0


def test_relative_bias_depends_on_the_offset():
    table = jnp.arange(6, dtype=jnp.float32)[None]  # 3 queries, 4 keys: offsets −2 … 3
    expected = [[2, 3, 4, 5], [1, 2, 3, 4], [0, 1, 2, 3]]
    np.testing.assert_array_equal(relative_bias(table, 3, 4)[0], expected)


def test_shapes_weights_and_what_each_head_reveals(batch, params, forward):
    out = forward(params, batch)
    n = batch.n_rows
    for name, o in out.items():
        assert o.score_BxK.shape == (n, 8)
        assert o.score_BxK.dtype == jnp.float32
        assert (o.gate_BxMxK is not None) == (name == "gated")
        assert (o.audio_to_midi_BxHxTxT is not None) == (name == "cross")
        assert (o.audio_mix_S is not None) == (name != "midi")
    np.testing.assert_allclose(out["gated"].gate_BxMxK.sum(axis=1), 1, rtol=1e-6)
    both = (
        np.asarray(out["cross"].audio_to_midi_BxHxTxT.sum(-1)),
        np.asarray(out["cross"].midi_to_audio_BxHxTxT.sum(-1)),
    )
    np.testing.assert_allclose(both, 1, rtol=1e-5)
    np.testing.assert_allclose(out["concat"].audio_mix_S.sum(), 1, rtol=1e-6)
    masked = ~np.pad(batch.midi_mask_BxT, ((0, 0), (0, 1)), constant_values=True)
    assert (np.moveaxis(np.asarray(out["cross"].audio_to_midi_BxHxTxT), 3, 1)[masked] == 0).all()
    assert (np.moveaxis(np.asarray(out["concat"].midi_pooling_BxHxT), 2, 1)[masked] == 0).all()


@pytest.mark.parametrize(("head", "other"), [("audio", "midi"), ("midi", "audio")])
def test_a_single_head_has_no_gradient_from_the_other_modality(batch, params, head, other):
    def total(features: dict[str, jax.Array]) -> jax.Array:
        out = apply(CONFIGS[head], params[head], batch._replace(**features))
        return jnp.sum(out.score_BxK**2)

    names = (f"{other}_BxTxC", f"{other}_layers_BxSxC", f"{head}_BxTxC")
    gradient = jax.jit(jax.grad(total))({n: jnp.asarray(getattr(batch, n)) for n in names})
    assert (np.asarray(gradient[names[0]]) == 0).all()
    assert (np.asarray(gradient[names[1]]) == 0).all()
    assert np.abs(gradient[names[2]]).max() > 0
    assert f"{other}_frames" not in params[head]["project"]


def test_fusion_heads_look_at_both(batch, params):
    def total(features: dict[str, jax.Array]) -> jax.Array:
        out = apply_all(CONFIGS, params, batch._replace(**features))
        return jnp.stack([jnp.sum(out[h].score_BxK ** 2) for h in ("concat", "cross", "gated")])

    names = ("audio_BxTxC", "midi_BxTxC", "audio_layers_BxSxC", "midi_layers_BxSxC")
    jacobian = jax.jit(jax.jacrev(total))({n: jnp.asarray(getattr(batch, n)) for n in names})
    for name in names:
        assert (np.abs(np.asarray(jacobian[name])).max(axis=(1, 2, 3)) > 0).all(), name
        assert np.isfinite(jacobian[name]).all()


def test_masked_bins_change_nothing(batch, params, forward):
    noise = 50 * np.random.default_rng(1).normal(size=batch.midi_BxTxC.shape).astype(np.float32)
    loud = batch._replace(midi_BxTxC=np.where(batch.midi_mask_BxT[:, :, None], batch.midi_BxTxC, noise))
    a, b = forward(params, batch), forward(params, loud)
    for name in HEADS:
        np.testing.assert_allclose(a[name].score_BxK, b[name].score_BxK, rtol=1e-5, atol=1e-5, err_msg=name)


def test_permuting_rows_permutes_outputs_and_padding_changes_nothing(batch, params, forward):
    order = np.random.default_rng(2).permutation(batch.n_rows)
    plain, permuted = forward(params, batch), forward(params, take_rows(batch, order))
    padded = forward(params, pad_rows(batch, batch.n_rows + 3))
    for name in HEADS:
        np.testing.assert_allclose(plain[name].score_BxK[order], permuted[name].score_BxK, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(padded[name].score_BxK[: batch.n_rows], plain[name].score_BxK, rtol=1e-4, atol=1e-5)
        assert np.isfinite(padded[name].score_BxK).all()


def test_together_or_alone_is_the_same(batch, params, forward):
    together = forward(params, batch)
    for name in ("audio", "cross"):
        alone = jax.jit(partial(apply, CONFIGS[name]))(params[name], batch)
        np.testing.assert_allclose(alone.score_BxK, together[name].score_BxK, rtol=1e-4, atol=1e-5)


def test_modality_dropout_takes_one_at_most(batch, params):
    config = HeadConfig("gated", hidden=8, n_attention_heads=2, inputs="both", dropout=0.0, modality_dropout=1.0)
    look = jax.jit(partial(apply, config, train=True))
    gate = np.asarray(look(params["gated"], batch, key=jax.random.key(1)).gate_BxMxK)
    assert set(np.unique(gate)) == {0.0, 1.0}
    assert (gate.sum(axis=1) == 1).all()
    assert 0 < gate[:, 0, 0].mean() < 1
    no_layers = HeadConfig("gated", hidden=8, n_attention_heads=2)
    alone = jax.jit(lambda: apply(no_layers, init(no_layers, jax.random.key(0), batch), batch))()
    gate = np.asarray(alone.gate_BxMxK)
    assert (gate[0, 1] == 0).all()  # no MIDI bin: the gate leaves MIDI out


def test_bad_configurations_say_so(batch):
    with pytest.raises(BadInput, match="there are audio, midi, concat, cross, gated"):
        HeadConfig("fusion")
    with pytest.raises(BadInput, match="multiple of n_attention_heads"):
        HeadConfig("audio", hidden=10)
    with pytest.raises(BadInput, match="pooling='median'; choose mean or statistics"):
        HeadConfig("audio", pooling="median")
    with pytest.raises(BadInput, match="needs midi_BxTxC, which the data does not give"):
        init(HeadConfig("concat"), jax.random.key(0), batch._replace(midi_BxTxC=None))
