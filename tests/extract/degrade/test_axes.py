"""Each axis alone: what it does, and that the level it reports is what a plain measurement of the result finds."""

from __future__ import annotations

import numpy as np
import pytest

from keybed.extract.degrade.articulation import audible_releases, vary_lengths
from keybed.extract.degrade.dynamics import COMPRESSED, Stretches, flatten_loudness, touch_from_elsewhere
from keybed.extract.degrade.pedal import spoil_pedal
from keybed.extract.degrade.timing import jitter
from keybed.extract.music.chords import CHORD_GAP_S
from keybed.extract.music.loudness_trend import loudness_trend
from keybed.extract.music.pedal import pedal_at
from keybed.extract.music.performance import Performance
from tests.extract.examples import WINDOW_S, steady


def rng(n: int = 0) -> np.random.Generator:
    return np.random.default_rng(n)


def inside(p: Performance) -> np.ndarray:
    return (p.onset_s >= 0) & (p.onset_s < WINDOW_S)


@pytest.mark.parametrize("sd_ms", [5.0, 10.0, 30.0, 60.0, 75.0])
def test_timing_reports_the_sd_of_the_shifts_and_moves_whole_notes(sd_ms: float) -> None:
    p = steady()
    on, off, level = jitter(p.onset_s, p.offset_s, p.pitch, sd_ms, WINDOW_S, rng())
    shift = (on - p.onset_s)[inside(p)]
    assert level == pytest.approx(1000 * np.sqrt(np.mean((shift - shift.mean()) ** 2)), rel=1e-9)
    assert level == pytest.approx(sd_ms, rel=0.01)
    np.testing.assert_allclose(off - on, p.offset_s - p.onset_s, atol=1e-9)
    np.testing.assert_array_equal((on >= 0) & (on < WINDOW_S), inside(p))


def test_timing_errors_hang_together_and_grow_with_the_interval() -> None:
    neighbours, short, long = [], [], []
    for seed in range(60):
        gaps = np.tile([0.1, 0.1, 0.1, 0.8], 9)
        onset = 0.2 + np.cumsum(gaps)
        pitch = np.arange(30, 30 + onset.size).astype(np.int16)
        on, _, _ = jitter(onset, onset + 0.05, pitch, 10.0, WINDOW_S, rng(seed))
        shift = on - onset
        neighbours.append(np.corrcoef(shift[:-1], shift[1:])[0, 1])
        long.append(shift[3::4].std())
        short.append(shift[1::4].std())
    assert np.mean(neighbours) > 0.15
    assert np.mean(long) > 1.5 * np.mean(short)


def test_a_chord_wavers_together() -> None:
    onset = np.repeat(np.arange(0.5, 9.5, 0.25), 4)
    pitch = np.tile([48, 55, 64, 72], onset.size // 4).astype(np.int16)
    on, _, _ = jitter(onset, onset + 0.1, pitch, 30.0, WINDOW_S, rng())
    chords = (on - onset).reshape(-1, 4)
    assert chords.mean(1).std() > 1.5 * (chords - chords.mean(1, keepdims=True)).std()
    assert CHORD_GAP_S == 0.03


def test_timing_keeps_the_order_of_a_chords_notes_and_changes_their_lags() -> None:
    """100 chords, each with its top note first and 5 ms from note to note."""
    pitch = np.tile(np.array([72, 67, 64, 60], np.int16), 100)
    onset = (np.arange(100)[:, None] * 0.5 + np.arange(4) * 0.005).ravel() + 0.1
    on, _, _ = jitter(onset, onset + 0.2, pitch, 60.0, 51.0, rng())
    lag = np.diff(on.reshape(100, 4), axis=1)
    assert (lag >= 0).all()
    assert np.ptp(lag) > 0.005


def test_timing_never_swaps_the_strokes_of_a_key() -> None:
    onset = 0.2 + 0.06 * np.arange(150)
    on, _, _ = jitter(onset, onset + 0.05, np.full(150, 60, np.int16), 60.0, WINDOW_S, rng())
    assert (np.diff(on) > 0).all()


@pytest.mark.parametrize("log_sd", [0.05, 0.25, 0.55])
def test_articulation_reports_the_sd_of_log_length(log_sd: float) -> None:
    p = steady(every_s=0.15)
    counted = inside(p)
    off, level = vary_lengths(p.onset_s, p.offset_s, p.pitch, log_sd, counted, rng())
    change = np.log((off - p.onset_s) / (p.offset_s - p.onset_s))[counted]
    assert level == pytest.approx(change.std(), rel=1e-9)
    assert level == pytest.approx(log_sd, rel=0.01)
    assert (off > p.onset_s).all()


def test_a_release_is_audible_only_with_the_pedal_up_and_inside_the_window() -> None:
    p = Performance(
        onset_s=np.array([-0.5, 1.0, 3.0, 9.8]),
        offset_s=np.array([0.5, 2.0, 4.0, 10.2]),
        pitch=np.array([60, 62, 64, 65], np.int16),
        velocity=np.full(4, 70, np.int16),
        pedal_s=np.array([1.5, 2.5]),
        pedal_value=np.array([64, 63], np.int16),
    )
    assert audible_releases(p, WINDOW_S).tolist() == [False, False, True, False]


def loudness(arch: float, deviation: float, seed: int = 0, n: int = 0) -> tuple[Performance, np.ndarray, tuple]:
    p = steady(n=n) if n else steady()
    trend = loudness_trend(p.onset_s, p.velocity)
    touch = np.stack([touch_from_elsewhere(p.velocity - trend, p.n_notes, rng(seed + k)) for k in range(2)])
    return (
        p,
        trend,
        flatten_loudness(p.velocity, trend, arch, deviation, inside(p), touch, Stretches(p.velocity), rng(seed)),
    )


@pytest.mark.parametrize("arch", [1.0, 0.5, 0.05])
@pytest.mark.parametrize("deviation", [1.0, 0.6, 0.225])
def test_loudness_keeps_a_share_of_arch_and_of_deviation(arch: float, deviation: float) -> None:
    p, trend, (velocity, got_arch, got_deviation) = loudness(arch, deviation)
    own = inside(p)
    change = (velocity.astype(float) - p.velocity)[own]
    parts = np.stack([trend - trend[own].mean(), p.velocity - trend], 1)[own]
    kept = 1 + np.linalg.lstsq(parts, change, rcond=None)[0]
    assert kept == pytest.approx([got_arch, got_deviation], abs=0.03)
    assert [got_arch, got_deviation] == pytest.approx([arch, deviation], abs=0.03)
    assert velocity.dtype == np.int16
    if arch == deviation == 1.0:
        assert velocity is p.velocity


def test_velocities_come_closer_together_the_more_is_lost() -> None:
    """sd of the window's velocities over what it was: 1 − 0.4 of the lost share, where arch and deviation lose alike."""
    assert COMPRESSED == 0.4
    ratios = {}
    for kept in (0.85, 0.6, 0.35, 0.2):
        ratio = []
        for seed in range(20):
            p, _, (velocity, *got) = loudness(kept, kept, seed, n=100)
            ratio.append(velocity.std() / p.velocity.std())
            assert got == pytest.approx([kept, kept], abs=0.03)
        ratios[kept] = np.mean(ratio)
    assert list(ratios.values()) == pytest.approx([0.94, 0.84, 0.74, 0.68], abs=0.02)


def test_a_window_gets_the_velocities_of_a_flatter_stretch_and_keeps_its_mean() -> None:
    flat, wide = 60 + 6 * rng(1).integers(-1, 2, 300), 60 + 10 * rng(2).integers(-1, 2, 300)
    velocity, recording = wide[:100].astype(np.int16), np.concatenate([wide, flat]).astype(np.int16)
    touch = rng().normal(0, 5, (2, 100))
    changed, _, kept = flatten_loudness(
        velocity, np.full(100, 60.0), 1.0, 0.05, np.ones(100, bool), touch, Stretches(recording), rng()
    )
    assert kept == pytest.approx(0.05, abs=0.03)
    assert changed.mean() == pytest.approx(velocity.mean(), abs=0.5)
    near = np.abs(changed[:, None] - (60 + 6 * np.array([-1, 0, 1]))).min(
        1
    )  # three levels 6 steps apart, as in the flat stretch
    assert near.max() <= 2


def test_flattened_accents_come_on_other_notes_and_change_no_faster_than_their_spread() -> None:
    steps, kept, spread = [], [], []
    for seed in range(30):
        trend = 64 + 8 * np.sin(np.arange(200) / 30)
        accents = np.convolve(rng(seed).normal(0, 8, 1001), [0.8, 0.6])[1:1001]  # neighbours correlate by 0.48
        velocity = np.round(trend + accents[:200]).astype(np.int16)
        touch = np.stack([touch_from_elsewhere(accents[200:], 200, rng(k)) for k in range(2)])
        changed, _, _ = flatten_loudness(
            velocity, trend, 1.0, 0.35, np.ones(200, bool), touch, Stretches(velocity), rng(seed)
        )
        kept.append(np.polyfit(velocity - trend, changed - trend, 1)[0])
        spread.append((changed - trend).std() / (velocity - trend).std())
        steps.append(np.abs(np.diff(changed)).mean() / np.abs(np.diff(velocity)).mean())
    assert np.mean(kept) == pytest.approx(0.35, abs=0.05)
    assert np.mean(spread) == pytest.approx(0.74, abs=0.03)
    assert np.mean(steps) == pytest.approx(np.mean(spread), abs=0.07)


def test_few_notes_or_one_velocity_keep_their_loudness() -> None:
    velocity, trend = np.full(30, 64, np.int16), np.full(30, 64.0)
    for n in (3, 30):
        got = flatten_loudness(
            velocity[:n], trend[:n], 0.2, 0.3, np.ones(n, bool), np.zeros((2, n)), Stretches(velocity), rng()
        )
        assert got[0].tolist() == [64] * n
        assert got[1:] == (1.0, 1.0)


def crossings_of(pedal_s: np.ndarray, value: np.ndarray) -> list[tuple[float, bool]]:
    """A plain reading of the pedal: when it goes down and up."""
    down, crossings = False, []
    for time_s, v in zip(pedal_s.tolist(), value.tolist(), strict=True):
        if (v >= 64) != down:
            down = not down
            crossings.append((time_s, down))
    return crossings


@pytest.mark.parametrize("share", [0.05, 0.1, 0.3, 0.55, 0.675, 1.0])
def test_pedal_reports_the_share_of_lifts_displaced_or_gone(share: float) -> None:
    for seed in range(12):
        pedal_s = np.arange(0.2, 13.0, 0.05)
        value = np.clip(64 + 80 * np.sin(2 * np.pi * pedal_s / 1.1 + 0.2), 0, 127).astype(np.int16)
        result = spoil_pedal(pedal_s, value, share, WINDOW_S, rng(seed))
        before, after = crossings_of(pedal_s, value), crossings_of(result.pedal_s, result.pedal_value)
        assert (np.diff(result.pedal_s) >= 0).all()
        depth = []
        for i, (lift, down) in enumerate(before):
            if down or not 0 <= lift < WINDOW_S:
                continue
            ups = [t for t, d in after if not d]
            downs = [t for t, d in after if d]
            press = before[i + 1][0]
            nearest = min(abs(t - lift) for t in ups)
            nearest_press = min(abs(t - press) for t in downs)
            gone = pedal_at(result.pedal_s, result.pedal_value, np.linspace(lift, press, 50)).min() >= 64
            depth.append(1.0 if gone and nearest > 0.3 else min(max(nearest, nearest_press) / 0.3, 1.0))
        assert result.n_changes == len(depth)
        assert result.share_spoiled == pytest.approx(share, abs=0.02)
        assert np.mean(depth) == pytest.approx(result.share_spoiled, abs=0.02)


def test_a_pedal_without_changes_has_nothing_to_spoil() -> None:
    result = spoil_pedal(np.array([-2.0, 1.0]), np.array([0, 127], np.int16), 0.5, WINDOW_S, rng())
    assert result.share_spoiled == 0.0
    assert result.n_changes == 0
    assert result.pedal_s.tolist() == [-2.0, 1.0]


def test_axes_at_zero_return_what_they_were_given() -> None:
    p = steady()
    trend = loudness_trend(p.onset_s, p.velocity)
    assert jitter(p.onset_s, p.offset_s, p.pitch, 0.0, WINDOW_S, rng()) == (p.onset_s, p.offset_s, 0.0)
    assert vary_lengths(p.onset_s, p.offset_s, p.pitch, 0.0, inside(p), rng()) == (p.offset_s, 0.0)
    touch = np.zeros((2, p.n_notes))
    assert flatten_loudness(p.velocity, trend, 1.0, 1.0, inside(p), touch, Stretches(p.velocity), rng()) == (
        p.velocity,
        1.0,
        1.0,
    )
    pedalling = spoil_pedal(p.pedal_s, p.pedal_value, 0.0, WINDOW_S, rng())
    assert pedalling.pedal_s is p.pedal_s
    assert pedalling.share_spoiled == 0.0
