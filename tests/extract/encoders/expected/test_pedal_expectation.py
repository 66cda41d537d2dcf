"""The expected pedal: what networks fitted to pedalling made by hand expect, and how their input is read."""

from __future__ import annotations

import numpy as np
import pytest

from keybed.extract.encoders.expected.fit import Playing, fit
from keybed.extract.encoders.expected.pedal_expectation import (
    CONTEXTS,
    EDGES_S,
    HARMONY_SPANS_S,
    MOST_HELD,
    N_INPUTS,
    STEP_S,
    TIME_EDGES_S,
    PedalModel,
    pedal_surprise,
    steps_of,
    surprise_contexts,
)
from keybed.extract.music.performance import Performance
from tests.extract.encoders.baselines.notes import performance

CHORDS = [(48, 60, 64, 67), (41, 57, 60, 65), (43, 59, 62, 67), (45, 57, 60, 64)]


def legato(seed: int, late_s: float = 0.0) -> Performance:
    """Chords at uneven times, and the pedal changed just after each; late_s: so much later."""
    rng = np.random.default_rng(seed)
    onset_s = np.cumsum(rng.uniform(0.8, 1.4, 9))
    onset_s = onset_s[onset_s < 9.3]
    notes = [(on, on + 0.7, pitch, 60) for i, on in enumerate(onset_s.tolist()) for pitch in CHORDS[i % 4]]
    pedal = [(0.05, 100)]
    for on in onset_s.tolist():
        lift_s = on + rng.uniform(0.04, 0.08) + late_s
        pedal += [(lift_s, 0), (lift_s + 0.16, 100)]
    return performance(notes, pedal)


@pytest.fixture(scope="module")
def model() -> PedalModel:
    return fit(Playing.of([legato(seed) for seed in range(60)], 10.0), np.ones(60, bool)).pedal


def test_pedal_changes_with_the_harmony_are_expected_and_those_between_are_not(model: PedalModel) -> None:
    good, late = (pedal_surprise(legato(1_000, by), 10.0, model) for by in (0.0, 0.4))
    assert good[0].values.size == late[0].values.size >= 6
    assert late[0].values.mean() > good[0].values.mean() + 2.0
    # The pedal rests where it should change: that surprises as well.
    assert late[2].values.mean() > good[2].values.mean() + 0.02
    contexts = [surprise_contexts(lifts, presses, 20, 10.0) for lifts, presses, _ in (good, late)]
    assert contexts[0].shape == (21, len(CONTEXTS))
    for name in ("lift_surprise_mean", "pedal_surprise_p50", "pedal_surprise_p90"):
        channel = CONTEXTS.index(name)
        assert contexts[1][-1, channel] > contexts[0][-1, channel]


def test_surprise_is_that_of_the_likeliest_step_just_before(model: PedalModel) -> None:
    notes = legato(1_001)
    steps = steps_of(notes, 10.0)
    chance = model.chance(steps.context, steps.down)
    lifts, presses, rests = pedal_surprise(notes, 10.0, model)
    for events, number in ((lifts, 3), (presses, 4)):
        at = round(float(events.time_s[number]) / STEP_S)
        assert steps.down[at] != steps.down[at - 1]
        assert steps.moves[at - 3 : at].all()
        likeliest = np.clip(chance[at - 3 : at].max(), 1e-3, 1 - 1e-3)
        assert events.values[number, 0] == pytest.approx(-np.log2(likeliest), rel=1e-4)
    assert (rests.values[steps.moves] == 0).all()
    quiet = np.flatnonzero(~steps.moves)[:50]
    expected = -np.log2(1 - np.clip(chance[quiet].astype(np.float64), 1e-3, 1 - 1e-3))
    np.testing.assert_allclose(rests.values[quiet, 0], expected, rtol=1e-4)


def test_events_lie_where_the_pedal_crosses(model: PedalModel) -> None:
    notes = performance([(1.0, 1.5, 60, 60)], [(0.05, 100), (2.06, 0), (2.22, 100)])
    lifts, presses, steps = pedal_surprise(notes, 10.0, model)
    np.testing.assert_allclose(lifts.time_s, [2.06], atol=STEP_S)
    np.testing.assert_allclose(presses.time_s, [0.05, 2.22], atol=STEP_S)
    assert steps.values.shape == (500, 1)
    assert 0 <= lifts.values.min() <= lifts.values.max() <= np.log2(1000) + 1e-6


def test_the_context_counts_what_the_notes_do() -> None:
    notes = performance([(5.0, 5.5, 48, 60), (5.3, 5.5, 72, 60), (8.0, 8.5, 50, 60)])
    steps = steps_of(notes, 10.0)
    n_classes = len(TIME_EDGES_S) + 1
    n_times, n_harmony, n_spans = 5 * n_classes, 3 * len(HARMONY_SPANS_S), len(EDGES_S) - 1
    assert steps.context.shape == (500, N_INPUTS)
    assert (n_times + n_harmony + MOST_HELD + 1 + 3 * n_spans) == N_INPUTS
    assert steps.context.dtype == np.float32
    at = round(5.4 / STEP_S)
    since_onset, until_onset, since_bass, until_bass = (
        np.flatnonzero(steps.context[at, k * n_classes : (k + 1) * n_classes]) for k in range(4)
    )
    assert since_onset == np.digitize(0.1, TIME_EDGES_S)
    assert until_onset == until_bass == n_classes - 1  # 2.6 s
    assert since_bass == np.digitize(0.4, TIME_EDGES_S)  # 72 is no bass beside 48
    held = steps.context[at, n_times + n_harmony : n_times + n_harmony + MOST_HELD + 1]
    assert held.argmax() == 2
    onsets = steps.context[at, -3 * n_spans : -2 * n_spans] * 2
    assert onsets.sum() == 2  # both notes lie within 1.5 s before; the third does not
    assert not steps.down.any()
    assert not steps.moves.any()


def test_hardly_any_notes_or_pedal_give_numbers(model: PedalModel) -> None:
    for notes in (
        performance([]),
        performance([(1.0, 1.2, 60, 60)], [(0.5, 127)]),
        performance([(1.0, 1.2, 60, 60)], [(0.5, 127), (0.505, 0), (9.999, 127)]),
    ):
        lifts, presses, steps = pedal_surprise(notes, 10.0, model)
        assert all(np.isfinite(events.values).all() for events in (lifts, presses, steps))
        assert np.isfinite(surprise_contexts(lifts, presses, 20, 10.0)).all()


def test_playing_without_pedal_teaches_that_it_rests() -> None:
    notes = performance([(0.5 * i, 0.5 * i + 0.4, 60 + i, 60) for i in range(12)])
    model = fit(Playing.of([notes] * 2, 10.0), np.ones(2, bool)).pedal
    steps = steps_of(notes, 10.0)
    np.testing.assert_allclose(model.chance(steps.context, steps.down), 1e-3, rtol=1e-3)
    pedalled = legato(5)
    lifts, presses, rests = pedal_surprise(pedalled, 10.0, model)
    # Any movement surprises as much as one can, about ten bits.
    for events in (lifts, presses):
        np.testing.assert_allclose(events.values, np.log2(1000), rtol=1e-3)
    assert rests.values.max() < 0.01
