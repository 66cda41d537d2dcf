from __future__ import annotations

import numpy as np
import pytest

from keybed.extract.encoders.baselines.pedal_features import (
    GAP_CHANNELS,
    HOLD_CHANNELS,
    PERIOD_CHANNELS,
    dip_rates,
    gap_measures,
    hold_measures,
    pedalling_of,
)
from keybed.extract.music.performance import Performance
from tests.extract.encoders.baselines.notes import performance

PEDAL = [(0.5, 100), (2.0, 0), (2.25, 100), (4.0, 0), (5.0, 100), (9.0, 0)]


def named(names: tuple[str, ...], values: np.ndarray) -> dict[str, np.ndarray]:
    return dict(zip(names, values.T, strict=True))


def test_gaps_holds_and_periods_are_those_of_the_crossings() -> None:
    at_lift, after_first = gap_measures(pedalling_of(performance([(1, 2, 60, 64)], PEDAL), 10.0))
    assert at_lift.time_s.tolist() == [2, 4, 9]
    found = named(GAP_CHANNELS, at_lift.values)
    assert found["pedal_gap_log2"] == pytest.approx(np.log2([0.25, 1, 3]))  # no press follows the last: the limit
    assert found["pedal_hold_log2"] == pytest.approx(np.log2([1.5, 1.75, 4]))
    later = named(PERIOD_CHANNELS, after_first.values)
    assert after_first.time_s.tolist() == [4, 9]
    assert later["pedal_period_log2"] == pytest.approx(np.log2([2, 5]))
    assert later["pedal_gap_change_log2"] == pytest.approx([2, np.log2(3)])
    assert later["pedal_hold_change_log2"] == pytest.approx([np.log2(1.75 / 1.5), np.log2(4 / 1.75)])


def test_the_lag_of_a_lift_is_to_the_nearest_bass_note() -> None:
    # Chords at 1.9 and 4.1 s with a bass, a tune between them: it does not count.
    notes = [(1.9, 2.4, 40, 64), (1.9, 2.4, 72, 64), (1.98, 2.4, 74, 64), (4.1, 4.6, 43, 64), (4.1, 4.6, 76, 64)]
    lag = named(GAP_CHANNELS, gap_measures(pedalling_of(performance(notes, PEDAL), 10.0))[0].values)["bass_to_lift_s"]
    assert lag == pytest.approx([0.1, -0.1, 0.6])


def hold(pitches: list[int]) -> dict[str, float]:
    """Measures of one hold from 1 to 5 s with these notes in it, and one note after it."""
    notes = [(1.2 + 0.3 * i, 1.4 + 0.3 * i, pitch, 64) for i, pitch in enumerate(pitches)]
    events = hold_measures(pedalling_of(performance([*notes, (5.5, 6, 61, 64)], [(1.0, 127), (5.0, 0)]), 10.0))
    assert events.time_s.tolist() == [1.0]
    return dict(zip(HOLD_CHANNELS, events.values[0].tolist(), strict=True))


def test_a_held_pedal_mixes_the_pitch_classes_struck_in_it() -> None:
    # C major over its bass, three seconds under one pedal.
    assert hold([36, 60, 64, 67, 72]) == {
        "hold_pitch_classes": 3,
        "hold_semitones": 0,
        "hold_foreign": 0,
        "hold_basses": pytest.approx(1),
    }
    # Then D flat major on its own bass: six classes, three pairs of semitones (C–D flat, E–F, G–A flat), two basses.
    mixed = hold([36, 60, 64, 67, 37, 61, 65, 68])
    assert mixed["hold_pitch_classes"] == 6
    assert mixed["hold_semitones"] == 3
    assert mixed["hold_basses"] == 2
    # Of the twelve classes, seven fit a scale: five of twelve notes are foreign.
    assert hold(list(range(60, 72)))["hold_foreign"] == pytest.approx(5 / 12)


def test_keys_released_before_the_press_are_not_in_the_hold() -> None:
    notes = [(0.2, 0.4, 61, 64), (0.3, 1.5, 60, 64), (2.0, 2.5, 64, 64)]
    events = hold_measures(pedalling_of(performance(notes, [(1.0, 127), (3.0, 0)]), 10.0))
    assert named(HOLD_CHANNELS, events.values)["hold_pitch_classes"].tolist() == [2]


def test_a_dip_that_does_not_reach_64_is_shallow() -> None:
    pedal = [(1.0, 127), (1.1, 80), (1.2, 80), (1.3, 120), (2.0, 30), (2.1, 120), (3.0, 101), (3.1, 120)]
    assert dip_rates(performance([], pedal), 5, 10.0)[:, 0].tolist() == [0.5, 0, 0, 0, 0]


def test_without_a_pedal_there_is_nothing_to_measure() -> None:
    for notes in (performance([(1, 2, 60, 64)]), Performance.empty()):
        pedalling = pedalling_of(notes, 10.0)
        events = [*gap_measures(pedalling), hold_measures(pedalling)]
        assert [e.values.shape for e in events] == [(0, len(n)) for n in (GAP_CHANNELS, PERIOD_CHANNELS, HOLD_CHANNELS)]
