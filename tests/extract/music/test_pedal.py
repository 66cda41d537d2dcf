"""Pedal values and crossings of a short pedal line written by hand."""

from __future__ import annotations

import numpy as np

from keybed.extract.music.pedal import crossings, lift_times, pedal_at, press_times

TIME_S = np.array([0.5, 1.0, 1.5, 2.0, 3.0])
VALUE = np.array([63, 64, 127, 40, 90], np.int16)


def test_an_event_counts_from_its_own_time_on_and_the_pedal_begins_at_0() -> None:
    value = pedal_at(TIME_S, VALUE, np.array([0.0, 0.49, 0.5, 1.9, 2.0, 9.0]))
    assert value.tolist() == [0, 0, 63, 127, 40, 90]
    assert value.dtype == np.int16
    assert pedal_at(np.zeros(0), np.zeros(0, np.int16), np.array([1.0])).tolist() == [0]


def test_the_pedal_is_down_from_64_on() -> None:
    index, press = crossings(VALUE)
    assert index.tolist() == [1, 3, 4]
    assert press.tolist() == [True, False, True]
    assert press_times(TIME_S, VALUE).tolist() == [1.0, 3.0]
    assert lift_times(TIME_S, VALUE).tolist() == [2.0]
