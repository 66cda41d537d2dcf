"""Expected lengths and velocities: what models fitted to playing made by hand expect, and that a note never tells itself."""

from __future__ import annotations

import numpy as np
import pytest

from keybed.experiments.audits.expected.notes import (
    N_CHANNELS,
    NoteExpectation,
    fit,
    note_frames,
    notes_of,
)
from keybed.experiments.audits.fingerprints import NotEnoughRows
from keybed.extract.music.performance import Performance
from tests.extract.encoders.baselines.notes import performance


def playing(seed: int, *, exchanged: float = 0.0, flat: bool = False) -> Performance:
    """Two voices: a legato tune, louder the higher, over staccato. exchanged: share of the tune's notes that are staccato too;
    flat: velocities at random."""
    rng = np.random.default_rng(seed)
    notes, at_s = [], 0.3
    while at_s < 9.0:
        step_s = float(rng.choice([0.3, 0.6]))
        pitch = int(rng.integers(67, 84))
        long = 0.25 if rng.random() < exchanged else 0.98
        loud = int(rng.integers(60, 112)) if flat else 60 + 3 * (pitch - 67)
        notes += [(at_s, at_s + long * step_s, pitch, loud), (at_s + 0.004, at_s + 0.3 * step_s, pitch - 24, 45)]
        at_s += step_s
    return performance(sorted(notes))


@pytest.fixture(scope="module")
def models() -> NoteExpectation:
    return fit([playing(seed) for seed in range(80)], 10.0)


def test_lengths_and_velocities_of_another_kind_are_unexpected(models: NoteExpectation) -> None:
    usual, uneven, flat = (
        note_frames([p], 10.0, 20, models)[0]
        for p in (playing(900), playing(900, exchanged=0.3), playing(900, flat=True))
    )
    assert usual.shape == (20, 2, N_CHANNELS)
    # Means over the bins; then contexts, in whose second half the window's own measure stands.
    length, velocity = 0, 1
    length_p75, length_sd, velocity_sd = 6, 7, 9
    assert uneven[:, 0, length].mean() > 2 * usual[:, 0, length].mean()
    assert uneven[0, 1, length_p75] > usual[0, 1, length_p75]
    assert uneven[0, 1, length_sd] > usual[0, 1, length_sd] + 1
    assert flat[:, 0, velocity].mean() > 2 * usual[:, 0, velocity].mean()
    assert flat[0, 1, velocity_sd] > usual[0, 1, velocity_sd] + 1
    # What is usual in one is not unexpected there.
    assert uneven[0, 1, velocity_sd] < flat[0, 1, velocity_sd] - 1
    assert flat[0, 1, length_sd] < uneven[0, 1, length_sd] - 1


def test_a_shortened_note_is_shorter_than_expected(models: NoteExpectation) -> None:
    p = playing(901)
    tune = np.flatnonzero(p.pitch >= 67)
    offset_s = p.offset_s.copy()
    offset_s[tune] = p.onset_s[tune] + 0.3 * (offset_s[tune] - p.onset_s[tune])
    short = Performance(p.onset_s, offset_s, p.pitch, p.velocity, p.pedal_s, p.pedal_value)
    usual, off = (note_frames([of], 10.0, 1, models)[0, 0, 0, 2] for of in (p, short))
    assert off < usual - 1


def test_a_note_is_not_predicted_from_what_is_predicted() -> None:
    p = playing(902)
    before = notes_of(p, 10.0)
    offset_s, velocity = p.offset_s.copy(), p.velocity.copy()
    offset_s[10] += 0.011
    velocity[10] += 7
    longer = notes_of(Performance(p.onset_s, offset_s, p.pitch, p.velocity, p.pedal_s, p.pedal_value), 10.0)
    louder = notes_of(Performance(p.onset_s, p.offset_s, p.pitch, velocity, p.pedal_s, p.pedal_value), 10.0)
    np.testing.assert_array_equal(longer.of_length[10], before.of_length[10])
    np.testing.assert_array_equal(louder.of_velocity[10], before.of_velocity[10])
    assert longer.length_log2[10] > before.length_log2[10]
    # Its neighbours see it.
    assert not np.array_equal(longer.of_length[9], before.of_length[9], equal_nan=True)
    assert not np.array_equal(louder.of_velocity[9], before.of_velocity[9], equal_nan=True)


def test_hardly_any_notes_give_zeros(models: NoteExpectation) -> None:
    few = [performance([]), performance([(1.0, 1.2, 60, 60)]), playing(903)]
    frames = note_frames(few, 10.0, 20, models)
    assert np.isfinite(frames).all()
    assert not frames[:2].any()
    np.testing.assert_array_equal(frames[2], note_frames(few[2:], 10.0, 20, models)[0])
    assert not note_frames(few[:1], 10.0, 20, models).any()
    with pytest.raises(NotEnoughRows, match="none of the given rows has 4 notes"):
        fit(few[:2], 10.0)
