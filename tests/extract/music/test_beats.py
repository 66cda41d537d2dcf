from __future__ import annotations

import numpy as np
import pytest

from keybed.extract.music.beats import SECOND_TIGHTNESS, TIGHTNESS, _best_paths, track_beats
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


def _slow_path(strength: np.ndarray, period: float, tightness: float) -> list[int]:
    """The same path frame by frame, after Ellis (2007)."""
    back = range(round(0.5 * period), round(2.0 * period) + 1)
    score, came_from = strength.tolist(), [-1] * strength.size
    for t in range(strength.size):
        options = [(score[t - b] - tightness * np.log(b / period) ** 2, -b) for b in back if b <= t]
        if options and max(options)[0] > 0:
            gain, minus_b = max(options)
            score[t] += gain
            came_from[t] = t + minus_b
    tail = max(strength.size - back[-1], 0)
    t = tail + int(np.argmax(score[tail:]))
    path = []
    while t >= 0:
        path.append(t)
        t = came_from[t]
    return path[::-1]


@pytest.mark.parametrize(("seed", "period", "n"), [(0, 30.0, 700), (1, 13.0, 401), (2, 75.0, 300), (3, 75.0, 90)])
def test_beats_found_by_blocks_are_those_found_frame_by_frame(seed: int, period: float, n: int) -> None:
    rng = np.random.default_rng(seed)
    strength = np.maximum(rng.normal(0, 1, n), 0) * (rng.random(n) < 0.2)
    paths = _best_paths(strength, period)
    for path, tightness in zip(paths, (TIGHTNESS, SECOND_TIGHTNESS), strict=True):
        assert path.tolist() == _slow_path(strength, period, tightness)
