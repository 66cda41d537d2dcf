"""The tempo half of expression on a swaying pulse."""

from __future__ import annotations

import numpy as np
import pytest

from keybed.extract.degrade.tempo import flatten_tempo
from keybed.extract.music.beats import Beats, track_beats
from tests.extract.examples import rubato


@pytest.mark.parametrize("share", [0.8, 0.5, 0.05])
def test_beats_are_drawn_towards_their_mean_and_the_window_keeps_its_ends(share: float) -> None:
    onset, beat = rubato()
    velocity = np.where(np.isin(onset, beat), 90, 55).astype(np.int16)
    beats = track_beats(onset, velocity, 10.0)
    time_map, level = flatten_tempo(beats, share, 10.0)
    assert time_map is not None
    assert level == pytest.approx(share, abs=0.02)
    new = time_map(onset)
    assert (np.diff(new) > 0).all()
    np.testing.assert_array_equal(new[onset < 0], onset[onset < 0])
    np.testing.assert_array_equal(new[onset >= 10], onset[onset >= 10])
    within = beats.beat_s[(beats.beat_s >= 0) & (beats.beat_s < 10)]
    was, is_now = np.diff(within), np.diff(time_map(within))
    assert is_now.std() < (0.1 + share) * was.std()


def test_an_unsure_tracker_changes_nothing() -> None:
    assert flatten_tempo(Beats(np.arange(20.0), np.ones(19), False), 0.2, 10.0) == (None, 1.0)
    assert flatten_tempo(Beats(np.arange(20.0), np.ones(19), True), 1.0, 10.0) == (None, 1.0)
