"""Difficulty covariates of a passage written by hand."""

from __future__ import annotations

import numpy as np
import pytest

from keybed.extract.music.beats import track_beats
from keybed.extract.music.difficulty import covariates
from keybed.extract.music.performance import Performance
from keybed.store.format.vocabulary import COVARIATES


def test_difficulty_of_a_plain_passage() -> None:
    onset = np.repeat(np.arange(0.0, 10.0, 0.5), 4)
    n = onset.size
    p = Performance(
        onset,
        onset + 0.4,
        np.tile([36, 43, 64, 76], n // 4).astype(np.int16),
        np.tile([40, 60, 80, 100], n // 4).astype(np.int16),
    )
    beats = track_beats(p.onset_s, p.velocity, 10.0)
    difficulty = dict(zip(COVARIATES, covariates(p, beats, 10.0).tolist(), strict=True))
    assert difficulty["note_rate_hz"] == 8.0
    assert difficulty["polyphony"] == pytest.approx(4.0)
    assert difficulty["pitch_range_semitones"] == 40
    assert difficulty["hand_span_semitones"] == 12
    assert difficulty["tempo_variability"] == pytest.approx(0.0, abs=1e-6)
    assert difficulty["velocity_range"] == 60
