"""The audit of comparing: who is right only about differences has a better line there, and folds never share a piece."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from keybed import store as stores
from keybed.experiments.audits.comparing import ONE_BY_ONE, THEIR_DIFFERENCES, lines_of, measure, ridges
from keybed.experiments.data.features import Features
from keybed.experiments.data.folds import out_of_fold
from keybed.experiments.data.view import View
from keybed.experiments.evaluation.saved_predictions import SavedPredictions
from keybed.store.errors import KeybedError

RIDGE = "difference ridge on test-audio and test-midi"


@pytest.fixture(scope="module")
def features(make_store: Callable[..., Path]) -> Features:
    opened = stores.open(make_store(12, 8))
    return Features(opened, View("test-audio", "test-midi"), opened.rows())


def _saved(features: Features, predicted: np.ndarray) -> SavedPredictions:
    rows = features.rows
    fold = np.zeros(len(rows), np.int64)
    for number, one in enumerate(out_of_fold(rows, 4, seed=0)):
        fold[one.test] = number
    return SavedPredictions(rows.index, fold, {"gated": predicted[None].astype(np.float32)}, {})


def test_a_head_that_mistakes_the_music_is_better_at_differences(features: Features) -> None:
    rng, rows = np.random.default_rng(0), features.rows
    of_music = 60 * rng.normal(size=(int(rows.segment.max()) + 1, 8))[rows.segment]
    found = measure(
        features, _saved(features, rows.score + of_music + rng.normal(size=rows.score.shape)), replicates=50
    )
    assert set(found.r) == {
        ONE_BY_ONE,
        THEIR_DIFFERENCES,
        "difference ridge on test-audio",
        "difference ridge on test-midi",
        RIDGE,
    }
    for axis in ("notes", "timing", "articulation"):
        assert found.r[ONE_BY_ONE][axis].value < 0.5 < 0.95 < found.r[THEIR_DIFFERENCES][axis].value
        assert found.r[RIDGE][axis].value > 0.5
    assert found.gain[RIDGE].high < 0, "noise of one point is less than the features' own"
    text = "\n".join(lines_of(found))
    assert "difference ridge on test-midi, minus the differences of the head's scores" in text


def test_no_ridge_is_judged_by_a_piece_that_it_was_fitted_to(features: Features) -> None:
    saved = _saved(features, features.rows.score)
    judged = ridges(features, saved)
    assert sorted(features.rows.index[judged.position]) == sorted(saved.index)
    one_fold = SavedPredictions(saved.index, np.zeros_like(saved.fold), saved.by_model, {})
    with pytest.raises(KeybedError, match="no row of another piece"):
        ridges(features, one_fold)


def test_a_head_that_is_not_there_is_named(features: Features) -> None:
    with pytest.raises(KeybedError, match="no head 'cross'; it has gated"):
        measure(features, _saved(features, features.rows.score), head="cross")
