"""Tokens, mismatch, block-wise and quality terms against plain versions; gradients that must be zero; wrong settings."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from keybed.heads.align import AlignConfig, Terms, fit_projection
from keybed.heads.alignment import blockwise, mismatch, quality, tokens
from keybed.heads.alignment.objective import NAME
from keybed.heads.contrast import FAR, hard_negative_weights, info_nce, normalise
from keybed.heads.data import ArrayData
from keybed.heads.errors import BadInput
from keybed.heads.fit_config import FitConfig
from keybed.heads.inputs import HeadInput, from_arrays

RNG = np.random.default_rng(0)
EVERY = Terms(local=0.3, hard_negatives=0.15, codewords=20, tokens=2, mismatch=0.5, blockwise=0.5, quality=1.0)


def rows(n: int = 8, variants: int = 4) -> HeadInput:
    rng = np.random.default_rng(3)
    mask = np.ones((n, 3), bool)
    mask[:, 2] = False
    return from_arrays(
        audio_frames=rng.normal(size=(n, 3, 4)).astype(np.float32),
        midi_frames=rng.normal(size=(n, 3, 5)).astype(np.float32),
        midi_mask=mask,
        audio_layers=rng.normal(size=(n, 2, 2, 3)).astype(np.float32),
        midi_layers=rng.normal(size=(n, 2, 1, 2)).astype(np.float32),
        score=rng.uniform(50, 100, size=(n, 8)),
        valid=np.ones((n, 8), bool),
        segment=np.arange(n) // variants,
        row=np.arange(n),
        recording=np.arange(n) // variants,
        start_s=np.zeros(n),
    )


def test_hard_negatives_weigh_as_the_formula_says() -> None:
    """Li et al. (2024): w_ij = (B − 1)·exp(β s_ij) / Σ_{k≠j} exp(β s_ik), positives 1; excluded pairs are in no sum."""
    s = RNG.normal(size=(6, 6)).astype(np.float32) * 8
    counted = np.ones((6, 6), bool)
    counted[0, 3] = counted[3, 0] = False
    counted[5, :5] = counted[:5, 5] = False  # a row alone
    weight = np.asarray(hard_negative_weights(jnp.where(counted, jnp.asarray(s), FAR), jnp.asarray(counted), 0.15))
    expected, loss = np.ones((6, 6)), []
    for i in range(6):
        kept = np.flatnonzero(counted[i])
        for j in kept:
            if j != i:
                others = sum(np.exp(0.15 * s[i, k]) for k in kept if k != j)
                expected[i, j] = (len(kept) - 1) * np.exp(0.15 * s[i, j]) / others
        loss.append(np.log(sum(expected[i, j] * np.exp(s[i, j]) for j in kept)) - s[i, i])
    np.testing.assert_allclose(weight, expected, rtol=1e-4)
    symmetric = (s + s.T) / 2
    half = [
        np.log(
            sum(
                w * np.exp(x)
                for w, x, c in zip(
                    hard_negative_weights(jnp.asarray(symmetric), jnp.asarray(counted), 0.15)[i],
                    symmetric[i],
                    counted[i],
                    strict=True,
                )
                if c
            )
        )
        - symmetric[i, i]
        for i in range(6)
    ]
    # info_nce computes cosines itself, so hand it vectors whose products are the wanted logits: audio = logits, MIDI = identity
    got = info_nce(jnp.asarray(symmetric), jnp.eye(6), jnp.float32(0.0), jnp.asarray(~counted), jnp.ones(6), 0.15)
    assert got == pytest.approx(np.mean(half), rel=1e-4)
    assert len(loss) == 6
    extreme = jax.grad(
        lambda x: info_nce(x, jnp.eye(6), jnp.log(jnp.float32(0.01)), jnp.zeros((6, 6), bool), jnp.ones(6), 0.15)
    )
    assert np.isfinite(extreme(jnp.asarray(np.eye(6, dtype=np.float32) - np.eye(6, k=1, dtype=np.float32)))).all()


def test_tokens_attend_over_valid_bins() -> None:
    query, key, frame = (RNG.normal(size=shape).astype(np.float32) for shape in ((2, 3), (3, 3), (2, 4, 3)))
    mask = np.array([[1, 1, 0, 1], [0, 0, 0, 0]], bool)
    got = np.asarray(tokens.attend(*map(jnp.asarray, (query, key, frame, mask))))
    for n in range(2):
        logits = np.array([query[n] @ (frame[0, t] @ key) / np.sqrt(3) for t in (0, 1, 3)])
        share = np.exp(logits) / np.exp(logits).sum()
        np.testing.assert_allclose(got[0, n], share @ frame[0, [0, 1, 3]], rtol=1e-4)
    assert not got[1].any()


def test_swapped_notes_come_from_another_variant_that_differs() -> None:
    segment, real = jnp.array([0, 0, 0, 1, 1, 2]), jnp.array([True, True, True, True, False, True])
    excluded = jnp.zeros((6, 6), bool).at[0, 1].set(True).at[1, 0].set(True)  # rows 0 and 1 play the same notes
    counts = np.zeros((6, 6))
    for seed in range(200):
        partner, swapped = mismatch.swapped_rows(jax.random.key(seed), 0.4, segment, excluded, real)
        for i, (j, s) in enumerate(zip(np.asarray(partner), np.asarray(swapped), strict=True)):
            assert s == (i != j)
            counts[i, j] += s
    assert counts.sum(axis=1)[3:].tolist() == [0, 0, 0]  # a failed sibling, a failed row, a single variant
    assert counts[0, 1] == counts[1, 0] == 0
    assert counts[0, 2] + counts[1, 2] == pytest.approx(160, abs=40)
    assert min(counts[2, 0], counts[2, 1]) > 20
    logit, weight = jnp.array([2.0, -1.0, 7.0]), jnp.array([1.0, 3.0, 0.0])
    loss = mismatch.mismatch_loss(logit, jnp.array([True, False, False]), weight)
    assert loss == pytest.approx((np.log1p(np.exp(-2)) + 3 * np.log1p(np.exp(-1))) / 4, rel=1e-6)


def test_blockwise_is_the_mean_infonce_over_the_states_of_both_encoders() -> None:
    layers = {m: RNG.normal(size=(5, s, 4)).astype(np.float32) for m, s in (("audio", 3), ("midi", 1))}
    clips = {m: normalise(jnp.asarray(RNG.normal(size=(5, 2)), jnp.float32)) for m in layers}
    params = {m: blockwise.init_states(jax.random.key(i), x, 2) for i, (m, x) in enumerate(layers.items())}
    states = {m: blockwise.embed_states(params[m], jnp.asarray(x)) for m, x in layers.items()}
    np.testing.assert_allclose(np.linalg.norm(states["audio"], axis=2), 1, rtol=1e-4)
    nothing, ones, log_t = np.zeros((5, 5), bool), np.ones(5), np.log(0.2)

    def slow(x: np.ndarray, y: np.ndarray) -> float:
        logits = x @ y.T / 0.2
        return float(
            np.mean(
                [
                    0.5 * (np.log(np.exp(logits[i]).sum()) + np.log(np.exp(logits[:, i]).sum())) - logits[i, i]
                    for i in range(5)
                ]
            )
        )

    kernel = np.asarray(params["audio"]["kernel"])
    raw = layers["audio"][:, 1] @ kernel[1]
    np.testing.assert_allclose(states["audio"][:, 1], raw / np.linalg.norm(raw, axis=1, keepdims=True), rtol=1e-3)
    pairs = [(np.asarray(states["audio"])[:, s], np.asarray(clips["midi"])) for s in range(3)]
    pairs.append((np.asarray(states["midi"])[:, 0], np.asarray(clips["audio"])))
    loss = blockwise.blockwise_loss(
        states, clips, jnp.float32(log_t), jnp.asarray(nothing), jnp.asarray(ones, jnp.float32)
    )
    assert loss == pytest.approx(np.mean([slow(*pair) for pair in pairs]), rel=1e-4)


def test_quality_reads_mean_and_sd_over_valid_bins() -> None:
    frame, mask = RNG.normal(size=(2, 4, 3)).astype(np.float32), np.array([[1, 1, 1, 0], [1, 0, 0, 0]], bool)
    got = np.asarray(quality.moments(jnp.asarray(frame), jnp.asarray(mask)))
    np.testing.assert_allclose(got[0], [*frame[0, :3].mean(0), *frame[0, :3].std(0)], rtol=1e-4)
    np.testing.assert_allclose(got[1], [*frame[1, 0], 1e-3, 1e-3, 1e-3], rtol=1e-4)
    params = {m: {"kernel": jnp.ones((1, 8)) * f, "bias": jnp.zeros(8)} for m, f in (("audio", 1.0), ("midi", 2.0))}
    read = {m: jnp.array([[0.5], [9.0]]) for m in params}
    valid = jnp.ones((2, 8), bool).at[:, 1:].set(False)
    loss = quality.quality_loss(params, read, jnp.zeros((2, 8)), valid, jnp.array([1.0, 0.0]))
    assert loss == pytest.approx((0.125 + 0.5) / 2)


def test_private_tokens_get_no_gradient_from_the_alignment_and_every_parameter_gets_one_from_all_terms() -> None:
    batch = rows()
    config = AlignConfig(hidden=3, width=4, terms=EVERY)

    every = config.objective
    params, prepared = every.init(jax.random.key(0), batch), jax.tree.map(jnp.asarray, every.prepare(batch))

    @jax.jit
    def gradients(params: dict) -> tuple[dict, dict]:
        objectives = (replace(config, terms=replace(EVERY, quality=0.0)).objective, every)
        return tuple(
            jax.grad(lambda p, o=o: o.losses(p, prepared, jax.random.key(1), jnp.float32)[NAME])(params)[NAME]
            for o in objectives
        )

    aligned, both = gradients(params)
    private = [aligned["private_audio"], aligned["private_midi"]]
    private += [aligned["tokens"][m][name] for m in ("audio", "midi") for name in ("private_query", "private_key")]
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(private))
    assert np.any(aligned["tokens"]["shared_query"])
    silent = {
        jax.tree_util.keystr(path) for path, leaf in jax.tree_util.tree_leaves_with_path(both) if not np.any(leaf)
    }
    assert silent == {"['bias']"}  # SigLIP's


def test_the_base_does_not_change_when_terms_exist() -> None:
    """Parameters of the base are the same with every term on, so that lines of an ablation start alike."""
    base, every = (
        AlignConfig(hidden=3, width=4, terms=t).objective.init(jax.random.key(5), rows())[NAME]
        for t in (Terms(), EVERY)
    )
    for name in base:
        jax.tree.map(np.testing.assert_array_equal, base[name], every[name])


@pytest.mark.slow
def test_a_fit_with_all_terms_and_a_codebook_larger_than_the_batch() -> None:
    data = ArrayData(rows(24), rows(8), 8)
    fit = FitConfig(epochs=1, batch_rows=8, seeds=(0,), patience=0)
    result = fit_projection(data, AlignConfig(hidden=3, width=4, fit=fit, terms=EVERY))
    assert np.isfinite(result.history[0]["loss"]["projection"]).all()


def test_wrong_settings_are_named() -> None:
    for wrong, words in (
        ({"local": -1.0}, "local=-1"),
        ({"codewords": 1}, "give 2 or more"),
        ({"tokens": -2}, "tokens=-2"),
        ({"mismatch": 1.0}, "a share of the rows"),
        ({"quality": float("nan")}, "quality=nan"),
    ):
        with pytest.raises(BadInput, match=words):
            Terms(**wrong)
    with pytest.raises(BadInput, match="hard_negatives weigh InfoNCE"):
        AlignConfig(loss="siglip", terms=Terms(hard_negatives=0.15))
    fit = FitConfig(epochs=1, batch_rows=8, seeds=(0,))
    single = ArrayData(rows(16, variants=1), rows(8), 8)
    with pytest.raises(BadInput, match="no batch has two of one"):
        fit_projection(single, AlignConfig(fit=fit, terms=Terms(mismatch=0.2)))
    bare = ArrayData(rows(16)._replace(midi_layers_BxSxC=None), rows(8), 8)
    with pytest.raises(BadInput, match="alignment needs midi_layers_BxSxC"):
        fit_projection(bare, AlignConfig(fit=fit, terms=Terms(blockwise=0.5)))
