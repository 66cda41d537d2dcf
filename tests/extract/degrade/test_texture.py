"""Dither, the recording's own texture, and the runs of the pedal: no row keeps a file's ticks, no floor is exact."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from keybed.extract.degrade import UNTOUCHED, draw_levels, make_variant, prepare
from keybed.extract.degrade.articulation import vary_lengths
from keybed.extract.degrade.dither import DITHER_S, LARGEST_DITHER, dithered
from keybed.extract.degrade.finish import finished
from keybed.extract.degrade.pedal_runs import moved_runs
from keybed.extract.degrade.pedal_swaps import swapped_stretches
from keybed.extract.degrade.texture import USUAL_TEXTURE, drawn_by_note, released_in_time, texture_of
from keybed.extract.degrade.ticks import TICK_S
from keybed.extract.music.midi import read_midi
from keybed.extract.music.pedal import crossings
from keybed.extract.music.performance import Performance, playable
from tests.extract.examples import WINDOW_S, steady
from tests.extract.playability import problems


def rng(n: int = 0) -> np.random.Generator:
    return np.random.default_rng(n)


def on_ticks_of(hz: float, n: int = 2000) -> Performance:
    onset = np.arange(n) * 4 / hz
    pitch = (21 + np.arange(n) % 88).astype(np.int16)
    return Performance(
        onset, onset + 40 / hz, pitch, np.full(n, 64, np.int16), np.arange(50) / 5, np.zeros(50, np.int16)
    )


@pytest.mark.parametrize("hz", [768.0, 960.0])
def test_dither_leaves_no_grid_and_moves_nothing_far(hz: float) -> None:
    p = on_ticks_of(hz)
    q, order = dithered(p, USUAL_TEXTURE, rng(), window_s=WINDOW_S, fixed_pedal=1)
    for times in (q.onset_s, q.offset_s):
        assert np.abs(np.exp(2j * np.pi * hz * times).mean()) < 3 / np.sqrt(times.size)
        assert (times == np.round(times / TICK_S) * TICK_S).all()
    assert np.abs(q.onset_s - p.onset_s[order]).max() <= LARGEST_DITHER * DITHER_S + TICK_S
    assert (q.onset_s - p.onset_s[order]).std() == pytest.approx(DITHER_S, rel=0.05)
    assert q.pedal_s[0] == p.pedal_s[0]
    assert ((q.onset_s >= 0) == (p.onset_s[order] >= 0)).all()
    assert ((q.onset_s < WINDOW_S) == (p.onset_s[order] < WINDOW_S)).all()


def test_the_four_variants_of_a_segment_are_dithered_alike_and_another_seed_differs() -> None:
    prepared = prepare(steady(n=300))
    made = [
        make_variant(prepared, 3.0, WINDOW_S, UNTOUCHED, seed=seed, recording_id=1, tier=tier).performance
        for seed, tier in ((0, 0), (0, 1), (0, 3), (1, 0))
    ]
    for other in made[1:3]:
        np.testing.assert_array_equal(other.onset_s, made[0].onset_s)
        np.testing.assert_array_equal(other.pedal_s, made[0].pedal_s)
    assert (made[3].onset_s != made[0].onset_s).mean() > 0.9


def test_a_note_draws_the_same_value_until_it_moves_and_values_are_spread_over_the_pool() -> None:
    onset, pitch = np.round(np.linspace(-2, 12, 900) / TICK_S) * TICK_S, np.full(900, 60, np.int16)
    pool = np.array([0.05, 0.07, 0.09])
    drawn = drawn_by_note(pool, onset, pitch)
    np.testing.assert_array_equal(drawn, drawn_by_note(pool, onset, pitch))
    share = [(np.abs(drawn - value) < 0.002).mean() for value in pool]
    assert share == pytest.approx([1 / 3] * 3, abs=0.06)
    assert np.unique(drawn).size > 800


def test_a_key_is_released_before_its_next_stroke_by_a_return_of_the_recording() -> None:
    onset = np.array([0.0, 1.0, 2.0, 2.1])
    offset = np.array([1.0, 1.5, 2.1, 3.0])
    released = released_in_time(onset, offset, np.full(4, 60, np.int16), USUAL_TEXTURE)
    assert 0.055 < 1.0 - released[0] < 0.115
    assert released[1] == 1.5
    assert 2.0 + 0.025 < released[2] < 2.1
    assert released[3] == 3.0


def test_no_length_is_exactly_a_floor() -> None:
    p = steady(every_s=0.15)
    offset, _ = vary_lengths(p.onset_s, p.offset_s, p.pitch, 1.2, np.ones(p.n_notes, bool), rng())
    short = np.sort((offset - p.onset_s)[offset - p.onset_s < 0.05])
    assert short.size > 5
    assert short.min() > 0.025
    assert np.diff(short).min() > 0.0


def test_a_moved_lift_keeps_the_spacing_and_the_values_of_its_run() -> None:
    pedal_s = np.arange(0.0, 4.0, 0.02)
    value = np.clip(64 + 90 * np.cos(2 * np.pi * pedal_s / 2), 0, 127).astype(np.int16)
    index, press = crossings(value)
    assert press.tolist()[:3] == [True, False, True]
    shift = np.zeros(index.size)
    shift[1] = 0.2
    moved_s, moved_value = moved_runs(pedal_s, value, shift, 0.02, rng())
    at, _ = crossings(moved_value)
    assert moved_s[at] == pytest.approx(pedal_s[index] + shift, abs=1e-5)
    run = slice(int(at[1]) - 3, int(at[1]) + 3)
    was = slice(int(index[1]) - 3, int(index[1]) + 3)
    assert np.diff(moved_s[run]) == pytest.approx(0.02, abs=1e-5)
    assert moved_value[run].tolist() == value[was].tolist()
    assert (np.diff(moved_s) > 0.005).all()


@pytest.mark.parametrize("shift_s", [-0.2, 0.2])
def test_a_movement_in_which_a_value_comes_again_moves_as_one(shift_s: float) -> None:
    movement = [120, 100, 100, 80, 50, 50, 30, 4]
    value = np.array([127] * 30 + movement + [0] * 30, np.int16)
    pedal_s = np.arange(value.size) * 0.02
    moved_s, moved_value = moved_runs(pedal_s, value, np.array([0.0, shift_s]), 0.02, rng())
    first = 30
    at = np.searchsorted(moved_s, pedal_s[first] + shift_s - 0.01)
    np.testing.assert_array_equal(moved_value[at : at + len(movement)], movement)
    assert moved_s[at : at + len(movement)] == pytest.approx(pedal_s[first : first + len(movement)] + shift_s, abs=1e-5)
    assert (moved_value[:at] == 127).all()


def test_stretches_that_change_places_keep_every_spacing_and_displace_the_changes_between_them() -> None:
    length = [0.8, 1.3, 0.9, 1.25, 0.85, 1.2, 0.95]
    pedal_s, value = [0.0], [0]
    for seconds in length:
        for step in (10, 60, 100, 120):
            pedal_s.append(pedal_s[-1] + 0.02)
            value.append(step)
        pedal_s.append(pedal_s[-1] + seconds)
        value.append(118)
        for step in (90, 50, 5):
            pedal_s.append(pedal_s[-1] + 0.02)
            value.append(step)
        pedal_s.append(pedal_s[-1] + 0.1)
        value.append(2)
    times, values = np.round(np.array(pedal_s) / TICK_S) * TICK_S, np.array(value, np.int16)
    index, press = crossings(values)
    changes = np.flatnonzero(~press)
    for seed in range(10):
        after_s, after_value, moved = swapped_stretches(times, values, changes, 3.0, 0.3, 0.8, rng(seed))
        at, _ = crossings(after_value)
        assert after_s[at] - times[index] == pytest.approx(moved, abs=1e-9)
        assert np.sort(np.diff(after_s)) == pytest.approx(np.sort(np.diff(times)), abs=1e-9)
        assert np.sort(after_value).tolist() == np.sort(values).tolist()
        mass = np.minimum(np.maximum(np.abs(moved)[changes], np.abs(np.append(moved, 0))[changes + 1]) / 0.3, 1.0).sum()
        assert 1.0 < mass <= 3.0 + 1e-9
        assert np.abs(moved).max() <= 0.8


def test_texture_is_the_recordings_own(shared_data: Path) -> None:
    p = read_midi(sorted(shared_data.glob("maestro-mini/*/*.midi"))[0])
    texture = texture_of(p)
    assert 0.015 < texture.pedal_period_s < 0.022
    lengths = p.offset_s - p.onset_s
    assert np.isin(texture.shortest_s, lengths).all()
    assert (texture.shortest_s <= np.quantile(lengths, 0.06)).all()
    assert texture.returns_s.min() >= 0.02
    few = replace(
        p,
        **{
            name: getattr(p, name)[:3]
            for name in ("onset_s", "offset_s", "pitch", "velocity", "pedal_s", "pedal_value")
        },
    )
    np.testing.assert_array_equal(texture_of(few).returns_s, USUAL_TEXTURE.returns_s)


@pytest.mark.parametrize("pedal", [True, False])
def test_three_notes_one_velocity_and_no_pedal_can_be_degraded(pedal: bool) -> None:
    p = Performance(
        np.array([1.0, 2.0, 2.0]),
        np.array([2.0, 2.5, 3.0]),
        np.array([60, 60, 64], np.int16),
        np.full(3, 64, np.int16),
        np.array([0.5, 1.5]) if pedal else np.zeros(0),
        np.array([127, 0], np.int16) if pedal else np.zeros(0, np.int16),
    )
    for tier in range(4):
        aim = draw_levels(0, 1, 0.0, tier, "tiered")
        made = make_variant(prepare(p), 0.0, WINDOW_S, aim, seed=0, recording_id=1, tier=tier)
        assert np.isfinite(made.score).all()
        assert made.n_notes >= 2


def test_finished_notes_of_any_input_are_playable_as_they_are() -> None:
    draw = np.random.default_rng(3)
    for _ in range(50):
        # Few keys on a coarse grid of ticks: equal onsets, strokes a tick apart, notes without length.
        onset_s = draw.integers(0, 400, 60) * TICK_S
        lasting_s, pitch = draw.integers(0, 300, 60) * TICK_S, draw.integers(60, 64, 60)
        pedal_s, value = draw.integers(0, 9, 12) * 0.1, draw.integers(0, 128, 12)
        p = finished(onset_s, onset_s + lasting_s, pitch, draw.integers(1, 128, 60), pedal_s, value, USUAL_TEXTURE)
        assert not list(problems(p))
        again = playable(p.onset_s, p.offset_s, p.pitch, p.velocity, p.pedal_s, p.pedal_value)
        assert all(np.array_equal(getattr(p, name), getattr(again, name)) for name in Performance.__dataclass_fields__)
