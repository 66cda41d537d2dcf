from __future__ import annotations

import numpy as np
import pytest

from keybed.extract.degrade.tempo import flatten_tempo
from keybed.extract.music.beats import Beats, track_beats


def rubato(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Quavers with louder beats whose tempo sways by a tenth, and the beats."""
    rng = np.random.default_rng(seed)
    k = np.arange(64)
    interval = 0.5 * (1 + 0.1 * np.sin(2 * np.pi * k / 8)) + rng.normal(0, 0.003, 64)
    beat = np.cumsum(interval) - 11.0
    onset = np.sort(np.concatenate([beat, beat[:-1] + np.diff(beat) / 2]))
    return onset, beat


def test_a_swaying_pulse_is_followed() -> None:
    onset, beat = rubato()
    velocity = np.where(np.isin(onset, beat), 90, 55).astype(np.int16)
    beats = track_beats(onset, velocity, 10.0)
    assert beats.sure
    found = beats.beat_s[(beats.beat_s >= 0) & (beats.beat_s < 10)]
    nearest = np.abs(found[:, None] - beat[None]).min(1)
    assert np.median(nearest) < 0.001
    assert np.mean(nearest < 0.03) > 0.9


def test_a_tracker_is_unsure_of_scattered_notes_and_of_few() -> None:
    rng = np.random.default_rng(1)
    onset = np.sort(np.concatenate([rng.uniform(-10, 20, 12), [-9.0, 19.0]]))
    assert not track_beats(onset, np.full(onset.size, 70, np.int16), 10.0).sure
    assert not track_beats(onset[:3], np.full(3, 70, np.int16), 10.0).sure
    assert not track_beats(np.zeros(0), np.zeros(0, np.int16), 10.0).sure


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
