from __future__ import annotations

import numpy as np

from keybed.extract.music.voices import next_in_voice


def test_the_successor_is_the_next_onset_within_a_major_third() -> None:
    onset_s = np.array([0.0, 0.01, 0.5, 0.51, 1.0, 6.0])
    pitch = np.array([48, 72, 74, 50, 71, 72], np.int16)
    # The bass goes on at its next stroke, the tune at its own; strokes of one chord do not follow each other, and 5 s are too long.
    assert next_in_voice(onset_s, pitch).tolist() == [3, 2, 4, -1, -1, -1]


def test_a_leap_ends_a_voice_and_no_notes_have_none() -> None:
    assert next_in_voice(np.array([0.0, 1.0]), np.array([60, 65], np.int16)).tolist() == [-1, -1]
    assert next_in_voice(np.array([0.0, 1.0]), np.array([60, 64], np.int16)).tolist() == [1, -1]
    assert next_in_voice(np.zeros(0), np.zeros(0, np.int16)).size == 0
