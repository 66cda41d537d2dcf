"""The local term against plain loops: which bins are negatives, the loss, and where gradients must be zero."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from keybed.heads.alignment.local import LocalNegatives, local_loss, local_negatives
from keybed.heads.inputs import HeadInput, from_arrays, pad_rows

B, T, D = 8, 5, 4
SEGMENT = np.array([0, 0, 0, 0, 1, 1, 2, 2])


def batch_of_variants() -> HeadInput:
    """Rows 0 and 1 play the same notes in bin 2; rows 4 and 5 sound the same in bin 0; row 7 has failed (weight 0)."""
    rng = np.random.default_rng(0)
    audio, midi = (rng.normal(size=(B, T, 3)).astype(np.float16) for _ in range(2))
    midi[1, 2] = midi[0, 2]
    audio[5, 0] = audio[4, 0]
    midi[3, 4] = midi[3, 0]  # within a row, too: bins 0 and 4
    mask = np.ones((B, T), bool)
    mask[2, 3:] = False
    return from_arrays(
        audio_frames=audio,
        midi_frames=midi,
        midi_mask=mask,
        score=np.zeros((B, 8)),
        valid=np.ones((B, 8), bool),
        segment=SEGMENT,
        row=np.arange(B),
        weight=np.array([1, 2, 1, 1, 0.5, 1, 1, 0]),
        recording=np.arange(B),
        start_s=np.zeros(B),
    )


def frames(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(B, T, D)).astype(np.float32)


def slow_local(a: np.ndarray, m: np.ndarray, batch: HeadInput) -> float:
    """−log softmax(cos/0.1) of each bin's own partner, one bin and one direction at a time."""
    weight, mask = (
        np.asarray(batch.weight_B),
        {"a": np.asarray(batch.audio_mask_BxT), "m": np.asarray(batch.midi_mask_BxT)},
    )
    raw = {"a": np.asarray(batch.audio_BxTxC), "m": np.asarray(batch.midi_BxTxC)}
    unit = {"a": a / np.linalg.norm(a, axis=2, keepdims=True), "m": m / np.linalg.norm(m, axis=2, keepdims=True)}

    def alike(i: int, t: int, j: int, u: int) -> bool:
        return any(np.array_equal(x[i, t], x[j, u]) for x in raw.values())

    total, weights = 0.0, 0.0
    for i in range(B):
        for t in range(T):
            if not (mask["a"][i, t] and mask["m"][i, t] and weight[i]):
                continue
            loss = 0.0
            for x, y in (("a", "m"), ("m", "a")):
                others = [(i, u) for u in range(T) if abs(u - t) > 1]
                others += [
                    (j, t) for j in range(B) if j != i and batch.segment_B[j] == batch.segment_B[i] and weight[j]
                ]
                others = [(j, u) for j, u in others if mask[y][j, u] and not alike(i, t, j, u)]
                own = unit[x][i, t] @ unit[y][i, t] / 0.1
                loss += 0.5 * (
                    np.log(sum(np.exp(unit[x][i, t] @ unit[y][j, u] / 0.1) for j, u in [(i, t), *others])) - own
                )
            total, weights = total + weight[i] * loss, weights + weight[i]
    return total / weights


def loss_of(a: jax.Array, m: jax.Array, batch: HeadInput, negatives: LocalNegatives) -> jax.Array:
    masks = (jnp.asarray(batch.audio_mask_BxT), jnp.asarray(batch.midi_mask_BxT))
    return local_loss(a, m, *masks, negatives, jnp.asarray(batch.weight_B))


VALUE_AND_GRADIENT = jax.jit(jax.value_and_grad(loss_of, argnums=(0, 1)))
GRADIENT = jax.jit(jax.grad(loss_of, argnums=(0, 1)))


def test_the_local_loss_against_plain_loops_and_zero_gradients() -> None:
    batch, a, m = batch_of_variants(), frames(1), frames(2)
    negatives = jax.tree.map(jnp.asarray, local_negatives(batch))
    loss, (of_audio, of_midi) = VALUE_AND_GRADIENT(jnp.asarray(a), jnp.asarray(m), batch, negatives)
    assert loss == pytest.approx(slow_local(a, m, batch), rel=1e-5)
    assert np.isfinite(of_audio).all()
    assert not np.asarray(of_audio)[7].any()  # the failed row
    assert not np.asarray(of_midi)[7].any()
    assert not np.asarray(of_midi)[2, 3:].any()  # masked bins
    assert np.abs(of_midi[0]).min() > 0


def test_identical_bins_of_variants_do_not_push_each_other_apart() -> None:
    """Two variants that play the same in a bin: its gradient is that of each row alone."""
    batch, a, m = batch_of_variants(), frames(1), frames(2)
    every = local_negatives(batch)
    at = {shift: i for i, shift in enumerate((-3, -2, -1, 1, 2, 3))}
    assert not every.sibling_NxBxT[at[1], 0, 2]
    assert not every.sibling_NxBxT[at[-1], 1, 2]
    assert not every.sibling_NxBxT[at[1], 4, 0]
    assert every.sibling_NxBxT[at[1], 0].sum() == T - 1
    assert not every.within_BxTxT[3, 0, 4]
    assert every.within_BxTxT[0, 0].tolist() == [False, False, True, True, True]
    siblings_alone = jax.tree.map(jnp.asarray, every._replace(within_BxTxT=np.zeros_like(every.within_BxTxT)))
    grad = np.asarray(GRADIENT(jnp.asarray(a), jnp.asarray(m), batch, siblings_alone)[0])
    assert not grad[6].any()  # its only sibling has failed
    assert not grad[4, 0].any()  # the only sibling sounds the same there
    assert grad[4, 1:].any(axis=1).all()
    assert grad[0].any(axis=1).all()  # bin 2 has two other siblings


def test_one_variant_per_segment_and_padding_leave_the_bins_of_the_row() -> None:
    batch = batch_of_variants()._replace(segment_B=np.arange(B, dtype=np.int32))
    padded = pad_rows(batch, B + 2)
    negatives = jax.tree.map(jnp.asarray, local_negatives(padded))
    assert not np.any(negatives.sibling_NxBxT)
    a, m = (np.concatenate([frames(s), np.zeros((2, T, D), np.float32)]) for s in (1, 2))
    loss, (grad, _) = VALUE_AND_GRADIENT(jnp.asarray(a), jnp.asarray(m), padded, negatives)
    assert loss == pytest.approx(slow_local(a[:B], m[:B], batch), rel=1e-5)
    assert np.isfinite(grad).all()
    assert not np.asarray(grad)[B:].any()
