"""Rows made again axis by axis: the words agree with the levels that extraction measured, and the scores with the store."""

from dataclasses import replace

import numpy as np
import pytest

from keybed import store as stores
from keybed.experiments.hearing.changes import Pairs, pedal_displacement
from keybed.experiments.hearing.row_remaking import RowRemaker, middle_levels
from keybed.experiments.hearing.segment_choice import segments_for
from keybed.extract.degrade import CURVES
from keybed.extract.degrade.pedal import FULL_SHIFT_S
from keybed.store.format.vocabulary import AXES, DIMENSIONS, LEVELS, TIERS


@pytest.fixture(scope="module")
def store(finished_placeholder_store):
    return stores.open(finished_placeholder_store)


@pytest.fixture(scope="module")
def remaker(store):
    return RowRemaker(store)


def test_the_measured_differences_are_the_levels_that_the_labels_come_from(store, remaker):
    for number in range(0, 60, 3):
        stages = remaker.stages(remaker.planned(number))
        level = dict(zip(LEVELS, stages.variant.level.tolist(), strict=True))
        moved = pedal_displacement(*stages.pairs["pedal"], stages.window_s)
        spoiled = np.minimum(moved / FULL_SHIFT_S, 1.0).mean() if moved.size else 0.0
        assert spoiled == pytest.approx(level["pedal"], abs=1e-4)
        jitter_s = Pairs.of(*stages.pairs["timing"], stages.window_s).shift_s.std()
        assert 1000 * jitter_s == pytest.approx(level["timing"], abs=0.5)


def test_rows_made_again_are_the_stored_ones(store, remaker):
    rows = store.rows()
    for number in (0, 1, 30, 59):
        variant = remaker.stages(remaker.planned(number)).variant
        np.testing.assert_array_equal(variant.score, rows.score[rows.index == number][0])
        np.testing.assert_array_equal(variant.level, rows.level[rows.index == number][0])


def test_the_sound_is_the_one_that_was_encoded(store, remaker):
    row = remaker.planned(5)
    made = remaker.sound(row, remaker.stages(row).variant)
    np.testing.assert_array_equal(made.waveform, store.rows().waveform[5])


def test_an_axis_alone_leaves_the_others_untouched(remaker):
    number = next(n for n in range(60) if TIERS[remaker.planned(n).tier] == "poor")
    poor = middle_levels("timing")[TIERS.index("poor")]
    stages = remaker.stages(replace(remaker.planned(number), level_drawn=poor))
    scores = dict(zip(DIMENSIONS, stages.variant.score.tolist(), strict=True))
    changed = {name for name, score in scores.items() if score != 97.5}
    assert changed == {"rhythmic_stability", "overall_interpretation"}


@pytest.mark.parametrize("axis", AXES)
def test_a_chosen_segment_begins_with_the_pristine_row_and_falls(store, axis):
    columns = store.columns(0, store.n_rows)
    for rows in segments_for(store, axis, seed=1)[:3]:
        assert len(set(columns["segment"][rows])) == 1
        assert columns["tier"][rows[0]] == TIERS.index("pristine")
        scores = CURVES[axis].score(columns["level_drawn"][rows[1:], LEVELS.index(axis)])
        assert (np.diff(scores) <= 0).all()


def test_the_choice_follows_the_seed(store):
    orders = [[int(rows[0]) for rows in segments_for(store, "timing", seed)] for seed in (3, 3, 4)]
    assert orders[0] == orders[1]
    assert orders[0] != orders[2]
    assert sorted(orders[0]) == sorted(orders[2])
