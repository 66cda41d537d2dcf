"""What recordings are compared by: pairs within a segment, intervals that hold on other pieces, and what is left out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from keybed import store as stores
from keybed.experiments.data.features import Features
from keybed.experiments.data.folds import split_fold
from keybed.experiments.data.view import View
from keybed.experiments.evaluation.difference_ridge import Differences
from keybed.experiments.scoring.comparing import Comparing, _pairs, fit_comparing
from keybed.experiments.scoring.comparison import _around, compare
from keybed.experiments.scoring.results import ScoredMusic
from keybed.extract.music.performance import Performance
from keybed.store.format.vocabulary import DIMENSIONS
from tests.experiments.scoring.made_scores import cell, scored


@pytest.fixture(scope="module")
def features(make_store: Callable[..., Path]) -> Features:
    opened = stores.open(make_store(16, 10))
    return Features(opened, View("test-audio", "test-midi"), opened.rows())


def test_intervals_of_differences_hold_on_pieces_that_were_not_met(features: Features) -> None:
    fitted = fit_comparing(features, split_fold(features.rows))
    assert fitted is not None
    comparing, cards = fitted
    assert comparing.slope_DxK.shape[1] == comparing.half_width_K.shape[0] == len(DIMENSIONS)
    for name in ("note_accuracy", "articulation_clarity", "tone_quality"):
        card = cards[name]
        assert card.covered is not None
        assert 0.82 < card.covered < 0.97
        assert card.specific_r is not None
        assert card.specific_r > 0.7
        assert card.width == pytest.approx(2 * comparing.half_width_K[DIMENSIONS.index(name)])


def test_windows_are_compared_by_the_difference_of_their_relative_scores(features: Features) -> None:
    fold = split_fold(features.rows)
    fitted = fit_comparing(features, fold)
    assert fitted is not None
    relative = fitted[0].relative_scores(features.batch(fold.test))
    k = DIMENSIONS.index("note_accuracy")
    segment, score = features.rows.segment[fold.test], features.rows.score[fold.test, k]
    wide = 0
    for name in np.unique(segment):
        (inside,) = np.nonzero(segment == name)
        best, worst = inside[score[inside].argmax()], inside[score[inside].argmin()]
        if score[best] - score[worst] > 25:
            wide += 1
            assert 0 < relative[best, k] - relative[worst, k] < 60
    assert wide > 10


def test_pairs_are_those_within_a_segment(features: Features) -> None:
    rows = features.rows
    position = np.flatnonzero(np.isin(rows.segment, np.unique(rows.segment)[:3]))[::-1][1:]  # 4, 4 and 3 rows
    error = np.arange(len(position), dtype=np.float64)
    d = Differences(
        position,
        {"both": np.repeat(error[:, None], 8, axis=1).astype(np.float32)},
        np.zeros((len(position), 8)),
        np.ones((len(position), 8), bool),
    )
    residual, valid, piece = _pairs(rows, d)
    assert residual.shape == (6 + 6 + 3, 8)
    assert valid.all()
    assert sorted(residual[:, 0]) == [1.0] * 8 + [2.0] * 5 + [3.0] * 2
    assert set(piece) <= set(rows.piece[position])


def test_features_without_bins_and_parts_without_rows_give_nothing(features: Features) -> None:
    fold = split_fold(features.rows)
    assert fit_comparing(features, replace(fold, validation=fold.validation[:0])) is None
    layers = Features(features.store, View("test-audio", "test-midi", "layers"), features.rows)
    assert fit_comparing(layers, fold) is None


@pytest.mark.parametrize(
    ("middle_s", "centre", "expected"),
    [
        (6.0, [5.0, 7.0, 9.0], (0, 1)),
        (7.0, [5.0, 7.0, 9.0], (0, 1)),
        (4.0, [5.0, 7.0, 9.0], (0,)),
        (2.0, [5.0, 7.0, 9.0], None),
        (11.0, [5.0, 7.0, 9.0], (2,)),
        (14.8, [5.0, 15.0, 25.0], (1,)),
        (13.0, [5.0, 15.0, 25.0], None),
        (5.3, [5.0], (0,)),
    ],
)
def test_windows_around_a_moment(middle_s, centre, expected) -> None:
    """At most half a window of 10 s apart."""
    assert _around(middle_s, np.array(centre), 5.0) == expected


def test_a_window_that_says_too_little_is_not_compared_and_what_lies_between_windows_is_interpolated() -> None:
    """The other recording begins a second later, so that its windows lie between those that are wanted."""
    (first, music), (other, other_music) = scored("a.mid"), scored("b.mid")
    p = other_music.performance
    later = Performance(p.onset_s + 1, p.offset_s + 1, p.pitch, p.velocity, p.pedal_s + 1, p.pedal_value)
    rising = np.repeat(first.start_s[:, None], 8, axis=1)
    music = replace(music, relative_WxK=rising)
    other_music = ScoredMusic(later, other_music.sound, other_music.looked_at, rising - 1.0)
    windows = list(other.windows)
    windows[5] = replace(
        windows[5],
        scores={
            **windows[5].scores,
            "note_accuracy": cell(None, "few notes"),
            "tone_quality": cell(None, "wide interval"),
        },
    )
    other = replace(other, windows=tuple(windows))
    comparing = Comparing(np.zeros((1, 8)), np.full(8, 2.0))
    found = compare(first, music, other, other_music, comparing)
    assert len(found.passages) >= 14
    inner = [p for p in found.passages if 4 <= p.start_s <= 26]
    values = [p.compared["dynamic_range"].difference for p in inner if p.compared["dynamic_range"]]
    assert values == pytest.approx([0.0] * len(inner), abs=0.3), "a line that rises by 1 a second, read a second later"
    assert found.passages_compared["tone_quality"] == found.passages_compared["dynamic_range"] == len(found.passages)
    assert found.passages_compared["note_accuracy"] < len(found.passages)
    nothing = compare(first, music, other, other_music, None)
    assert nothing.compared == nothing.passages_compared == {}
    assert all(p.compared == {} for p in nothing.passages)
