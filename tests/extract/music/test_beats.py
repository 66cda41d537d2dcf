from __future__ import annotations

import numpy as np

from keybed.extract.music.beats import track_beats
from tests.extract.examples import rubato


def test_a_swaying_pulse_is_followed() -> None:
    onset, beat = rubato()
    velocity = np.where(np.isin(onset, beat), 90, 55).astype(np.int16)
    beats = track_beats(onset, velocity, 10.0)
    assert beats.sure
    in_window = beats.beat_s[(beats.beat_s >= 0) & (beats.beat_s < 10)]
    nearest = np.abs(in_window[:, None] - beat[None]).min(1)
    assert np.median(nearest) < 0.001
    assert np.mean(nearest < 0.03) > 0.9


def test_a_tracker_is_unsure_of_scattered_notes_and_of_few() -> None:
    rng = np.random.default_rng(1)
    onset = np.sort(np.concatenate([rng.uniform(-10, 20, 12), [-9.0, 19.0]]))
    assert not track_beats(onset, np.full(onset.size, 70, np.int16), 10.0).sure
    assert not track_beats(onset[:3], np.full(3, 70, np.int16), 10.0).sure
    assert not track_beats(np.zeros(0), np.zeros(0, np.int16), 10.0).sure
