from __future__ import annotations

import numpy as np

from keybed.extract.encoders.baselines.nearness import followers_within, near_within, struck_within
from keybed.extract.music.harmony import nearness
from keybed.extract.music.performance import Performance
from keybed.extract.music.voices import next_in_voice


def test_what_is_taken_from_all_notes_is_that_of_the_windows_notes_alone() -> None:
    rng = np.random.default_rng(0)
    onset_s = np.sort(rng.uniform(-2, 12, 200))
    pitch = rng.integers(40, 60, 200).astype(np.int16)
    notes = Performance(onset_s, onset_s + 0.1, pitch, np.full(200, 64, np.int16))
    within = (onset_s >= 0) & (onset_s < 10)
    assert np.array_equal(np.flatnonzero(within), np.arange(200)[struck_within(notes, 10.0)])
    assert np.array_equal(followers_within(notes, 10.0), next_in_voice(onset_s[within], pitch[within]))
    assert near_within(notes, 10.0, 1.5).tobytes() == nearness(onset_s[within], 1.5).tobytes()
    assert nearness(np.array([0.0, 3.0]), 1.5)[0, 1] == np.exp(-2.0)
