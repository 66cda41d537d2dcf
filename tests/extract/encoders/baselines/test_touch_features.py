from __future__ import annotations

import numpy as np
import pytest

from keybed.extract.encoders.baselines.contexts import Contexts
from keybed.extract.encoders.baselines.touch_features import (
    TOUCH_CHANNELS,
    TOUCH_CONTEXTS,
    touch_contexts,
    touch_measures,
    touch_of,
)
from tests.extract.encoders.baselines.notes import Note, performance, scale


def notes_of(measured_notes: list[Note]) -> dict[str, np.ndarray]:
    values = touch_measures(touch_of(performance(measured_notes), 10.0)).values
    return dict(zip(TOUCH_CHANNELS, values.T, strict=True))


def window_of(notes: list[Note]) -> dict[str, float]:
    touch = touch_of(performance(notes), 10.0)
    table = touch_contexts(touch, Contexts(touch.onset_s, 20, 10.0))[0]
    return dict(zip(TOUCH_CONTEXTS, table[-1].tolist(), strict=True))


def duet(seed: int | None = None) -> list[Note]:
    """A loud tune over a soft bass, 40 notes each; with a seed the same velocities in another order."""
    notes = [(0.1 + 0.24 * i, 0.3 + 0.24 * i, pitch + i % 3, v) for i in range(40) for pitch, v in ((48, 50), (72, 90))]
    if seed is None:
        return notes
    velocity = np.random.default_rng(seed).permutation([v for *_, v in notes])
    return [(on, off, pitch, int(v)) for (on, off, pitch, _), v in zip(notes, velocity, strict=True)]


def test_one_velocity_leaves_nothing_to_measure() -> None:
    for name, values in notes_of(scale()).items():
        np.testing.assert_allclose(values, 0, atol=1e-9, err_msg=name)
    assert all(value == 0 for value in window_of(scale()).values())


def test_velocities_of_a_voice_fit_and_the_same_in_another_order_do_not() -> None:
    played, shuffled = window_of(duet()), window_of(duet(seed=1))
    for name in TOUCH_CONTEXTS:
        assert played[name] > 0.9, name
        assert abs(shuffled[name]) < 0.45, name
    fits, does_not = notes_of(duet()), notes_of(duet(seed=1))
    for name in ("touch_from_alike", "touch_residual", "voice_touch_change"):
        assert fits[name].mean() < 0.3 < does_not[name].mean(), name
    assert fits["voice_touch_product"].mean() > 0.8 > 0.3 > does_not["voice_touch_product"].mean()


def test_values_are_in_units_of_the_windows_spread() -> None:
    # Velocities 50 and 90: the sd is 20, so one unit is 21.
    fits = notes_of(duet())
    assert fits["top_voicing"].reshape(40, 2) == pytest.approx(np.tile([0, 20 / 21], (40, 1)))
    # In order of pitch, six keys follow each other, softly three times and then loudly; one step of 40.
    assert fits["touch_change_by_pitch"].sum() == pytest.approx(40 / 21)


def test_an_accent_does_not_fit_its_voice() -> None:
    notes = [(0.5 + 0.5 * i, 0.9 + 0.5 * i, 60 + i % 2, 60) for i in range(16)]
    notes[8] = (*notes[8][:3], 100)
    found = notes_of(notes)
    for name in ("touch_from_alike", "touch_residual"):
        assert found[name].argmax() == 8
    unit = 1 + np.std([note[3] for note in notes])
    # The two steps to and from it are of 40, less what the trend takes of it.
    assert found["voice_touch_change"][[7, 8]] == pytest.approx([40 / unit, 40 / unit], rel=0.05)
    assert np.delete(found["voice_touch_change"], [7, 8]).max() < 0.2
