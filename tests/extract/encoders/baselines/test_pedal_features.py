from __future__ import annotations

import numpy as np
import pytest

from keybed.extract.encoders.baselines.pedal_features import (
    BASS_CHANNELS,
    GAP_CHANNELS,
    HOLD_CHANNELS,
    PRESS_CHANNELS,
    bass_measures,
    dip_rates,
    gap_measures,
    hold_measures,
    pedalling_of,
    press_measures,
)
from keybed.extract.music.performance import Performance
from tests.extract.encoders.baselines.notes import performance

PEDAL = [(0.5, 100), (2.0, 0), (2.25, 100), (4.0, 0), (5.0, 100), (9.0, 0)]
# Chords with a bass at 1.9 and 4.1 s, and notes of a tune between them, which are not of the bass.
CHORDS = [(1.9, 2.4, 40, 64), (1.9, 2.4, 72, 64), (1.98, 2.4, 74, 64), (4.1, 4.6, 43, 64), (4.1, 4.6, 76, 64)]


def named(names: tuple[str, ...], values: np.ndarray) -> dict[str, np.ndarray]:
    return dict(zip(names, values.T, strict=True))


def test_gaps_and_holds_are_those_of_the_crossings() -> None:
    at_lift = gap_measures(pedalling_of(performance([(1, 2, 60, 64)], PEDAL), 10.0))
    assert at_lift.time_s.tolist() == [2, 4, 9]
    found = named(GAP_CHANNELS, at_lift.values)
    assert found["pedal_gap_log2"] == pytest.approx(np.log2([0.25, 1, 3]))  # no press follows the last: the limit
    assert found["pedal_hold_log2"] == pytest.approx(np.log2([1.5, 1.75, 4]))


def test_keys_bridge_a_gap_or_leave_it_silent() -> None:
    # One key through the first gap; half of the second one, from 4 to 5 s; none in the third, limited to 3 s.
    notes = [(1.5, 3.0, 60, 64), (3.5, 4.4, 62, 64)]
    found = named(GAP_CHANNELS, gap_measures(pedalling_of(performance(notes, PEDAL), 10.0)).values)
    assert found["gap_held_keys"] == pytest.approx([1, 2 / 5, 0])
    assert found["gap_silent_s"] == pytest.approx([0, 3 / 5, 3])


def test_lags_are_to_the_nearest_bass_note() -> None:
    pedalling = pedalling_of(performance(CHORDS, PEDAL), 10.0)
    lift = named(GAP_CHANNELS, gap_measures(pedalling).values)
    assert lift["bass_to_lift_s"] == pytest.approx([0.1, -0.1, 0.6])
    assert lift["lift_from_usual_log2"] == pytest.approx(np.log2([0.03, 0.23, 0.53]))  # the median lag is 0.1 s
    assert lift["lift_with_bass"] == pytest.approx([1, np.exp(-2), np.exp(-12.5)])
    assert lift["bass_before_lift_log2"] == pytest.approx(np.log2([0.13, 2.03, 2.03]))
    assert lift["bass_after_lift_log2"] == pytest.approx(np.log2([2.03, 0.13, 2.03]))
    press = named(PRESS_CHANNELS, press_measures(pedalling).values)
    assert press["bass_to_press_s"] == pytest.approx([-0.6, 0.35, 0.6])
    assert press["press_with_bass"][1] == pytest.approx(np.exp(-0.5))


def test_a_bass_note_is_cleared_by_a_lift_soon_after_it() -> None:
    found = named(BASS_CHANNELS, bass_measures(pedalling_of(performance(CHORDS, PEDAL), 10.0)).values)
    assert found["bass_cleared"] == pytest.approx([1, np.exp(-2)])
    assert found["bass_to_next_lift_log2"] == pytest.approx(np.log2([0.13, 2.03]))


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
        events = [gap_measures(pedalling), press_measures(pedalling), hold_measures(pedalling)]
        assert [e.values.shape for e in events] == [(0, len(n)) for n in (GAP_CHANNELS, PRESS_CHANNELS, HOLD_CHANNELS)]
    unpedalled = bass_measures(pedalling_of(performance([(1, 2, 60, 64)]), 10.0)).values
    assert unpedalled == pytest.approx(np.array([[0, np.log2(2.03)]]))
