"""Expected lengths and velocities: what models fitted to playing made by hand expect, and that a note never tells itself."""

from __future__ import annotations

import numpy as np
import pytest

from keybed.extract.encoders.expected.fit import NotEnoughPlaying, Playing, fit
from keybed.extract.encoders.expected.note_expectation import (
    CHANNELS,
    CONTEXTS,
    FARTHEST,
    LENGTH_INPUTS,
    VELOCITY_INPUTS,
    NoteModel,
    note_surprise,
    notes_of,
    surprise_contexts,
)
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
def model() -> NoteModel:
    learnt = Playing.of([playing(seed) for seed in range(80)], 10.0)
    return fit(learnt, np.ones(80, bool)).notes


def of_window(p: Performance, model: NoteModel) -> dict[str, float]:
    """Means of the channels over the window's notes, and the contexts of the whole window."""
    events, errors = note_surprise(notes_of(p, 10.0), model)
    contexts = surprise_contexts(events, errors, 20, 10.0)
    assert contexts.shape == (21, len(CONTEXTS))
    return dict(zip((*CHANNELS, *CONTEXTS), [*events.values.mean(axis=0), *contexts[-1]], strict=True))


def test_lengths_and_velocities_of_another_kind_are_unexpected(model: NoteModel) -> None:
    usual, uneven, flat = (
        of_window(p, model) for p in (playing(900), playing(900, exchanged=0.3), playing(900, flat=True))
    )
    assert uneven["length_unexpected"] > 2 * usual["length_unexpected"]
    assert uneven["length_unexpected_p75"] > usual["length_unexpected_p75"]
    assert uneven["length_error_log_sd"] > usual["length_error_log_sd"] + 1
    assert flat["velocity_unexpected"] > 2 * usual["velocity_unexpected"]
    assert flat["velocity_unexpected_p50"] > usual["velocity_unexpected_p50"]
    assert flat["velocity_error_log_sd"] > usual["velocity_error_log_sd"] + 1
    # What is usual in one is not unexpected there.
    assert uneven["velocity_error_log_sd"] < flat["velocity_error_log_sd"] - 1
    assert flat["length_error_log_sd"] < uneven["length_error_log_sd"] - 1


def test_a_shortened_note_is_shorter_than_expected(model: NoteModel) -> None:
    p = playing(901)
    tune = np.flatnonzero(p.pitch >= 67)
    offset_s = p.offset_s.copy()
    offset_s[tune] = p.onset_s[tune] + 0.3 * (offset_s[tune] - p.onset_s[tune])
    short = Performance(p.onset_s, offset_s, p.pitch, p.velocity, p.pedal_s, p.pedal_value)
    assert of_window(short, model)["length_off"] < of_window(p, model)["length_off"] - 1


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


def test_the_networks_read_scaled_inputs_and_what_is_absent(model: NoteModel) -> None:
    notes = notes_of(playing(903), 10.0)
    assert notes.of_length.shape[1] == LENGTH_INPUTS
    assert notes.of_velocity.shape[1] == VELOCITY_INPUTS
    scaled = model.length.scaled(notes.of_length)
    absent = np.isnan(notes.of_length)
    assert scaled.shape == (len(absent), 2 * LENGTH_INPUTS)
    np.testing.assert_array_equal(scaled[:, LENGTH_INPUTS:].astype(bool), absent)
    assert (scaled[:, :LENGTH_INPUTS][absent] == 0).all()
    assert np.abs(scaled).max() <= FARTHEST
    known = ~absent
    far = np.clip((notes.of_length - model.length.centre) / model.length.scale, -FARTHEST, FARTHEST)
    np.testing.assert_allclose(scaled[:, :LENGTH_INPUTS][known], far[known], rtol=1e-6)


def test_hardly_any_notes_give_no_event(model: NoteModel) -> None:
    for few in (performance([]), performance([(1.0, 1.2, 60, 60)])):
        events, errors = note_surprise(notes_of(few, 10.0), model)
        assert events.values.shape == (0, len(CHANNELS))
        assert errors.shape == (0, 2)
        assert not surprise_contexts(events, errors, 20, 10.0).any()
    with pytest.raises(NotEnoughPlaying, match="none of the 1 undegraded windows has 4 notes"):
        Playing.of([performance([])], 10.0)


def test_notes_that_all_last_alike_are_expected_to() -> None:
    """One length and one velocity leave nothing to learn but themselves."""
    notes = [(0.2 + 0.25 * i, 0.4 + 0.25 * i, 60 + i % 12, 64) for i in range(30)]
    model = fit(Playing.of([performance(notes)] * 3, 10.0), np.ones(3, bool)).notes
    events, errors = note_surprise(notes_of(performance(notes), 10.0), model)
    assert np.abs(errors).max() < 0.05
    assert np.isfinite(events.values).all()
