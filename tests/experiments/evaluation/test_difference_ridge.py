"""A ridge on differences within segments: the music falls out, segments stay whole, and labels that some rows lack are left out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from keybed import store as stores
from keybed.experiments.data.features import Features
from keybed.experiments.data.view import View
from keybed.experiments.evaluation import difference_ridge
from keybed.experiments.evaluation.difference_ridge import (
    SOURCES,
    NoSegments,
    fit_difference_ridge,
    spread_segments,
    window_features,
)
from keybed.heads.metrics import specific_r
from keybed.store.format.vocabulary import DIMENSIONS


@pytest.fixture(scope="module")
def features(make_store: Callable[..., Path]) -> Features:
    opened = stores.open(make_store(12, 8))
    return Features(opened, View("test-audio", "test-midi"), opened.rows())


def _parts(features: Features) -> list[np.ndarray]:
    return [np.flatnonzero(features.rows.split == i) for i in range(3)]


def _with_music(features: Features, size: float) -> Features:
    """The same features, to which every segment adds something of its own."""
    rng = np.random.default_rng(0)
    batch = features.batch(np.arange(len(features.rows)))
    frames = []
    for x in (batch.audio_BxTxC, batch.midi_BxTxC):
        own = size * rng.normal(size=(int(features.rows.segment.max()) + 1, x.shape[-1]))
        frames.append(np.asarray(x, np.float32) + own[features.rows.segment][:, None].astype(np.float32))
    mask = np.ones(batch.midi_BxTxC.shape[:2], bool)
    return features.replaced((frames[0], frames[1]), (mask, mask))


def test_what_a_segments_music_adds_to_its_features_changes_nothing(features: Features) -> None:
    train, validation, test = _parts(features)
    quiet = fit_difference_ridge(features, train, validation).differences(features, test)
    loud_features = _with_music(features, 50.0)
    loud = fit_difference_ridge(loud_features, train, validation).differences(loud_features, test)
    np.testing.assert_array_equal(quiet.score, loud.score)
    for source in SOURCES:
        np.testing.assert_allclose(quiet.predicted[source], loud.predicted[source], atol=0.5)
    degraded = features.rows.tier[quiet.position] > 0
    r = specific_r(loud.predicted["midi"][degraded], loud.score[degraded], loud.valid[degraded])
    carried = [r[DIMENSIONS.index(name)] for name in ("note_accuracy", "articulation_clarity")]
    assert all(value is not None and value > 0.6 for value in carried)


def test_differences_are_of_whole_segments_in_batches_of_any_size(features: Features, monkeypatch) -> None:
    train, validation, test = _parts(features)
    ridge = fit_difference_ridge(features, train, validation)
    at_once = ridge.differences(features, test)
    monkeypatch.setattr(difference_ridge, "_BATCH_ROWS", 6)
    shuffled = np.random.default_rng(0).permutation(test)
    in_parts = ridge.differences(features, shuffled)
    assert sorted(in_parts.position) == sorted(at_once.position) == sorted(test)
    order, other = np.argsort(at_once.position), np.argsort(in_parts.position)
    np.testing.assert_allclose(at_once.predicted["both"][order], in_parts.predicted["both"][other], atol=1e-3)
    for k in range(len(DIMENSIONS)):
        total = np.bincount(
            features.rows.segment[at_once.position], np.where(at_once.valid[:, k], at_once.score[:, k], 0)
        )
        np.testing.assert_allclose(total, 0, atol=1e-3)


def test_a_dimension_that_some_rows_of_a_segment_lack_is_left_out_there(features: Features) -> None:
    train, validation, test = _parts(features)
    judged = fit_difference_ridge(features, train, validation).differences(features, test)
    valid, segment = features.rows.valid[judged.position], features.rows.segment[judged.position]
    lacking = ~valid[:, 2]
    assert lacking.any(), "the store has labels that some rows lack"
    assert not judged.valid[np.isin(segment, segment[lacking]), 2].any()
    assert judged.valid[~np.isin(segment, segment[lacking]), 2].all()


def test_a_row_that_stands_alone_is_left_out(features: Features) -> None:
    train, validation, test = _parts(features)
    ridge = fit_difference_ridge(features, train, validation)
    assert set(ridge.differences(features, test[1:]).position) == set(test[1:])
    alone = ridge.differences(features, test[:1])
    assert alone.position.size == 0
    assert alone.predicted["both"].shape == alone.score.shape == alone.valid.shape == (0, 8)


def test_performances_are_read_in_units_of_their_passages_spread(features: Features) -> None:
    train, validation, test = _parts(features)
    ridge = fit_difference_ridge(features, train, validation)
    x = window_features(features.batch(test[:4]))
    units = {s: (v - v.mean(axis=0)) / ridge.spread[s] for s, v in x.items()}
    same = ridge.differences(features, test[:4])
    for source in SOURCES:
        np.testing.assert_allclose(ridge.predict(units, source), same.predicted[source], atol=1e-2)


def test_of_many_rows_whole_segments_are_read(features: Features) -> None:
    train, validation, _ = _parts(features)
    few = spread_segments(features.rows, train, 100)
    assert 96 <= len(few) <= 100
    assert len(spread_segments(features.rows, train, len(train) - 1)) == len(train) - 4
    assert set(np.unique(features.rows.segment[few], return_counts=True)[1]) == {4}
    assert np.array_equal(spread_segments(features.rows, train, len(train)), train)
    small = fit_difference_ridge(features, train, validation, sources=("midi",), most_rows=100)
    assert set(small.slope) == {"midi"}
    again = fit_difference_ridge(features, few, validation, sources=("midi",))
    np.testing.assert_allclose(small.slope["midi"], again.slope["midi"])


@pytest.mark.parametrize(("widest", "of_one"), [(30, (2, 10)), (19, (1, 10))])
def test_of_wide_features_principal_components_are_read(features: Features, monkeypatch, widest, of_one) -> None:
    train, validation, test = _parts(features)
    whole = fit_difference_ridge(features, train, validation)
    without = whole.differences(features, test).predicted["both"]
    monkeypatch.setattr(difference_ridge, "WIDEST", widest)
    ridge = fit_difference_ridge(features, train, validation)
    assert {s: x.shape[1:] for s, x in window_features(features.batch(test)).items()} == {
        "audio": of_one,
        "midi": of_one,
        "both": (2, 20),
    }
    assert ridge.slope["both"].shape == whole.slope["both"].shape == (40, 8)
    np.testing.assert_allclose(ridge.spread["both"], whole.spread["both"])
    all_axes = ridge.differences(features, test).predicted["both"]
    assert np.corrcoef(all_axes[:, 0], without[:, 0])[0, 1] > 0.98, "ten channels have no more than twenty axes"
    monkeypatch.setattr(difference_ridge, "_AXES", 6)
    ridge = fit_difference_ridge(features, train, validation)
    judged = ridge.differences(features, test)
    degraded = features.rows.tier[judged.position] > 0
    r = specific_r(judged.predicted["both"][degraded], judged.score[degraded], judged.valid[degraded])
    assert r[0] is not None
    assert r[0] > 0.2, "six axes of twenty"


def test_without_validation_rows_there_is_no_ridge(features: Features) -> None:
    train, _, test = _parts(features)
    with pytest.raises(NoSegments, match="two rows to compare in the part validation"):
        fit_difference_ridge(features, train, test[:0])
