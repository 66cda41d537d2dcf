"""Folds that share no piece, swaps that stay in their segment, batches that hold every row once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from keybed import store as stores
from keybed.experiments.data.features import Features, other_variant
from keybed.experiments.data.fold_data import FoldData, batch_rows_for
from keybed.experiments.data.folds import TooFewPieces, out_of_fold, split_fold
from keybed.experiments.data.view import View, pair_of
from keybed.experiments.evaluation import inspection
from keybed.experiments.evaluation.cross_validation import Budget, head_configs, scored_rows
from keybed.experiments.evaluation.ordering import (
    difficulty_slopes,
    ordering,
    ordering_by_difficulty,
    pairs_within_segments,
)
from keybed.experiments.evaluation.shortcuts import fit_predict
from keybed.heads import FitConfig, train
from keybed.store.errors import NoSuchFeature
from keybed.store.format.vocabulary import TIERS


@pytest.fixture(scope="module")
def filled(make_store: Callable[..., Path]) -> stores.Store:
    return stores.open(make_store(10, 4, source="random"))


def test_folds_share_no_piece_and_test_every_row_once(filled: stores.Store) -> None:
    rows = filled.rows()
    folds = out_of_fold(rows, 4, seed=0)
    assert sorted(np.concatenate([f.test for f in folds]).tolist()) == list(range(len(rows)))
    for fold in [*folds, split_fold(rows)]:
        sides = [set(rows.piece[p].tolist()) for p in (fold.train, fold.validation, fold.test)]
        assert not (sides[0] & sides[1])
        assert not (sides[0] & sides[2])
        assert not (sides[1] & sides[2])
    with pytest.raises(TooFewPieces, match="three at least"):
        out_of_fold(rows.take(rows.piece < 2), 4, seed=0)


def test_two_folds_leave_none_to_train_or_to_choose(filled: stores.Store) -> None:
    with pytest.raises(TooFewPieces, match="--folds 3"):
        out_of_fold(filled.rows(), 2, seed=0)


def test_the_other_variant_is_of_the_same_segment_and_never_the_same_row(filled: stores.Store) -> None:
    rows = filled.rows()
    positions = np.random.default_rng(0).permutation(len(rows))
    other = other_variant(rows, positions)
    assert (rows.segment[other] == rows.segment[positions]).all()
    assert (other != positions).all()
    alone = positions[:1]
    assert other_variant(rows, alone).tolist() == alone.tolist()


@pytest.mark.parametrize("memory_gib", [4.0, 0.0])
def test_an_epoch_holds_every_row_once_segments_together(filled: stores.Store, memory_gib: float) -> None:
    rows = filled.rows()
    features = Features(filled, View("test-audio", "test-midi"), rows, memory_gib=memory_gib)
    assert features.in_memory == (memory_gib > 0)
    train = np.arange(96)
    data = FoldData(features, train, np.arange(96, 120), 16, 100)
    batches = list(data.train(0))
    seen = np.concatenate([b.row_B for b in batches])
    assert sorted(seen[seen >= 0].tolist()) == rows.index[train].tolist()
    assert len(seen) == 100
    assert sum(float(b.weight_B.sum()) == 0 for b in batches) == 1
    segments = np.concatenate([b.segment_B for b in batches])[:96]
    assert (segments.reshape(-1, 4) == segments.reshape(-1, 4)[:, :1]).all()
    again = np.concatenate([b.row_B for b in data.train(0)])
    np.testing.assert_array_equal(seen, again)
    assert not np.array_equal(seen, np.concatenate([b.row_B for b in data.train(1)]))
    whole = np.concatenate([np.asarray(b.audio_BxTxC) for b in batches])[:96]
    np.testing.assert_array_equal(
        whole[np.argsort(seen[:96])], filled.read("audio/test-audio/frames", rows.index[train])[:, :, 0]
    )


def test_a_swap_changes_one_modality_alone(filled: stores.Store) -> None:
    rows = filled.rows()
    features = Features(filled, View("test-audio", "test-midi"), rows)
    positions = np.arange(8)
    other = other_variant(rows, positions)
    plain, swapped = features.batch(positions), features.batch(positions, audio_from=other)
    np.testing.assert_array_equal(plain.midi_BxTxC, swapped.midi_BxTxC)
    np.testing.assert_array_equal(swapped.audio_BxTxC, features.batch(other).audio_BxTxC)
    np.testing.assert_array_equal(plain.score_BxK, swapped.score_BxK)


def test_pairs_of_encoders(filled: stores.Store) -> None:
    assert pair_of(filled, None, None) == ("test-audio", "test-midi")
    with pytest.raises(NoSuchFeature, match="it has test-audio"):
        pair_of(filled, "mert", None)
    with pytest.raises(NoSuchFeature, match="keybed derive"):
        Features(filled, View("test-audio", "test-midi", "pca8"), filled.rows())
    with pytest.raises(NoSuchFeature, match="no view"):
        View("test-audio", "test-midi", "waves")


def test_a_view_without_a_time_grid_has_no_attention_to_show(filled: stores.Store) -> None:
    """`phase2 --view layers` and `--view pooled`: each modality is one token, and the report leaves the section out."""
    heads = head_configs(("cross",), Budget(hidden=8), "layers")
    features = Features(filled, View("test-audio", "test-midi", "layers"), filled.rows())
    data = FoldData(features, np.arange(32), np.arange(32, 64), 16, 32)
    fitted = train.fit(heads, data, FitConfig(epochs=1, batch_rows=16, seeds=(0,)))
    assert inspection.attention(fitted, "cross", features, np.arange(8)) is None


def test_state_weights_are_the_softmax_of_the_learned_mix(filled: stores.Store) -> None:
    features = Features(filled, View("test-audio", "test-midi", "layers"), filled.rows())
    data = FoldData(features, np.arange(32), np.arange(32, 64), 16, 32)
    fitted = train.fit(
        head_configs(("cross",), Budget(hidden=8), "layers"), data, FitConfig(epochs=1, batch_rows=16, seeds=(0, 1))
    )
    mix = fitted.params["cross"]["project"]["audio_layers"]["mix"]
    n_states = mix.shape[-1]
    mix = np.zeros_like(mix)
    mix[0, 0], mix[1, 0] = np.log(3.0), 0.0
    fitted.params["cross"]["project"]["audio_layers"]["mix"] = mix
    weights = inspection.state_weights(fitted, features, np.arange(8), "cross")
    assert weights is not None
    first = (3 / (2 + n_states) + 1 / n_states) / 2
    assert weights["audio"][0] == pytest.approx(first, abs=1e-6)
    assert sum(weights["audio"]) == pytest.approx(1, abs=1e-6)
    frames = Features(filled, View("test-audio", "test-midi", "frames"), filled.rows())
    plain = train.fit(
        head_configs(("cross",), Budget(hidden=8), "frames"),
        FoldData(frames, np.arange(32), np.arange(32, 64), 16, 32),
        FitConfig(epochs=1, batch_rows=16, seeds=(0,)),
    )
    assert inspection.state_weights(plain, frames, np.arange(8), "cross") is None


def test_batches_grow_with_the_training_rows() -> None:
    assert [batch_rows_for(n) for n in (200, 2000, 40_000)] == [16, 32, 256]


def test_ordering_against_the_slow_count(filled: stores.Store) -> None:
    rows = filled.rows()
    rng = np.random.default_rng(0)
    predicted = (np.nan_to_num(rows.score) + rng.normal(0, 20, (2, len(rows), 8))).round(-1).astype(np.float32)
    predictions = scored_rows(rows, {"model": predicted})
    accuracy = ordering(predictions, "model")
    for a in range(4):
        for b in range(a + 1, 4):
            points = []
            for s in np.unique(rows.segment):
                i, j = (np.flatnonzero((rows.segment == s) & (rows.tier == t))[0] for t in (a, b))
                sign = np.sign(rows.score[i, 7] - rows.score[j, 7])
                if sign != 0:
                    points += ((sign * np.sign(predicted[:, i, 7] - predicted[:, j, 7]) + 1) / 2).tolist()
            assert accuracy[f"{TIERS[a]}>{TIERS[b]}"].value == pytest.approx(np.mean(points))
    assert sum(d.pairs for d in ordering_by_difficulty(predictions, "model")) == len(np.unique(rows.segment))
    assert len(pairs_within_segments(predictions).better) == 6 * len(np.unique(rows.segment))


def test_a_model_that_predicts_difficulty_alone_has_its_slope(filled: stores.Store) -> None:
    rows = filled.rows()
    pristine = rows.tier == 0
    z = (rows.difficulty[:, 1] - rows.difficulty[pristine, 1].mean()) / rows.difficulty[pristine, 1].std()
    predicted = np.zeros((1, len(rows), 8), np.float32)
    predicted[0, :, 7] = np.where(rows.tier == 3, 60.0, 90.0) - 6.0 * z
    slopes = difficulty_slopes(scored_rows(rows, {"model": predicted}), "model")
    gap = predicted[0, pristine, 7].mean() - predicted[0, rows.tier == 3, 7].mean()
    assert slopes["polyphony"].value == pytest.approx(-6.0 / gap, rel=1e-4)


def test_a_shortcut_reads_what_it_sees() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 1))
    score = np.repeat(70 + 5 * x + 2 * x**2, 8, axis=1)
    predicted = fit_predict(x[:300], x[300:], score[:300], np.ones((300, 8), bool), np.ones(300))
    assert np.corrcoef(predicted[:, 0], score[300:, 0])[0, 1] > 0.999
