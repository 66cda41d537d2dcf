"""Statistics of one performance: onsets, velocities, lengths, pedal. They use no model and no other performance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.percepiano.passages import chords
from keybed.extract.music.pedal import pedal_at
from keybed.extract.music.performance import SUSTAIN_ON, Performance

Numbers = dict[str, float]
_FLOOR_S = 0.01


def note_statistics(performance: Performance) -> Numbers:
    """Name → number for a performance with at least 8 notes; ValueError below that.

    Durations are logarithms, so that a ratio weighs the same at every tempo.
    """
    if performance.n_notes < 8:
        raise ValueError(f"{performance.n_notes} notes are too few to describe")
    groups = chords(performance)
    numbers = {**_onsets(performance, groups), **_velocities(performance, groups)}
    return {**numbers, **_lengths(performance), **_pedal(performance), **_texture(performance, groups)}


def _spread(name: str, values: NDArray[np.floating], quantiles: tuple[int, ...] = (10, 50, 90)) -> Numbers:
    if values.size == 0:
        values = np.zeros(1)
    numbers = {f"{name}_mean": float(values.mean()), f"{name}_sd": float(values.std())}
    return numbers | {f"{name}_p{q}": float(np.percentile(values, q)) for q in quantiles}


def _correlation(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    if a.size < 3 or a.std() < 1e-9 or b.std() < 1e-9:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def _smooth(values: NDArray[np.floating], width: int) -> NDArray[np.float64]:
    """Centred running mean, shorter at the ends."""
    kernel = np.ones(min(width, values.size))
    weight = np.convolve(np.ones(values.size), kernel, "same")
    return np.asarray(np.convolve(values, kernel, "same") / weight)


def _onsets(performance: Performance, groups: list[NDArray[np.intp]]) -> Numbers:
    onset = np.array([performance.onset_s[g].mean() for g in groups])
    gap = np.log(np.maximum(np.diff(onset), _FLOOR_S))
    step = np.diff(gap)
    slow = _smooth(gap, 9)
    asynchrony = np.array([np.ptp(performance.onset_s[g]) for g in groups if g.size > 1]) * 1000
    lead = np.array(
        [
            performance.onset_s[g].mean() - performance.onset_s[g[np.argmax(performance.pitch[g])]]
            for g in groups
            if g.size > 1
        ]
    )
    half = gap.size // 2
    return {
        "log_duration": float(np.log(onset[-1] - onset[0] + _FLOOR_S)),
        "log_note_rate": float(np.log(performance.n_notes / (onset[-1] - onset[0] + _FLOOR_S))),
        **_spread("log_gap", gap),
        "gap_step_sd": float(step.std()),
        "gap_step_median": float(np.median(np.abs(step))),
        "gap_autocorrelation": _correlation(gap[1:], gap[:-1]),
        "slow_gap_sd": float(slow.std()),
        "slow_gap_range": float(np.ptp(slow)),
        "gap_trend": _correlation(gap, np.arange(gap.size, dtype=np.float64)),
        "gap_halves": float(gap[half:].mean() - gap[:half].mean()),
        "last_gap": float(gap[-2:].mean() - np.median(gap)),
        "asynchrony_ms": float(asynchrony.mean()) if asynchrony.size else 0.0,
        "asynchrony_ms_p90": float(np.percentile(asynchrony, 90)) if asynchrony.size else 0.0,
        "melody_lead_ms": float(lead.mean() * 1000) if lead.size else 0.0,
        "longest_gap": float(gap.max()),
    }


def _velocities(performance: Performance, groups: list[NDArray[np.intp]]) -> Numbers:
    velocity = performance.velocity.astype(np.float64)
    pitch = performance.pitch.astype(np.float64)
    loudest = np.array([velocity[g].max() for g in groups])
    slow = _smooth(loudest, 9)
    melody = np.array([performance.pitch[g].argmax() for g in groups])
    top = np.array([velocity[g[k]] for g, k in zip(groups, melody, strict=True)])
    many = [g for g in groups if g.size > 1]
    voicing = np.array([velocity[g[np.argmax(pitch[g])]] - velocity[g].mean() for g in many])
    high = pitch >= np.median(pitch)
    half = loudest.size // 2
    return {
        **_spread("velocity", velocity, (5, 25, 50, 75, 95)),
        "velocity_range": float(np.percentile(velocity, 95) - np.percentile(velocity, 5)),
        "velocity_skew": float(((velocity - velocity.mean()) ** 3).mean() / (velocity.std() ** 3 + 1e-9)),
        "velocity_step": float(np.abs(np.diff(velocity)).mean()),
        "loudest_step": float(np.abs(np.diff(loudest)).mean()),
        "slow_velocity_sd": float(slow.std()),
        "slow_velocity_range": float(np.ptp(slow)),
        "velocity_around_slow_sd": float((loudest - slow).std()),
        "velocity_trend": _correlation(loudest, np.arange(loudest.size, dtype=np.float64)),
        "velocity_halves": float(loudest[half:].mean() - loudest[:half].mean()),
        "velocity_autocorrelation": _correlation(loudest[1:], loudest[:-1]),
        "velocity_by_pitch": _correlation(velocity, pitch),
        "high_minus_low_velocity": float(velocity[high].mean() - velocity[~high].mean())
        if high.any() and (~high).any()
        else 0.0,
        "melody_velocity": float(top.mean()),
        "melody_velocity_sd": float(top.std()),
        "voicing": float(voicing.mean()) if voicing.size else 0.0,
        "voicing_sd": float(voicing.std()) if voicing.size else 0.0,
        "velocity_by_gap": _correlation(
            loudest[:-1], np.log(np.maximum(np.diff([performance.onset_s[g[0]] for g in groups]), _FLOOR_S))
        ),
    }


def _lengths(performance: Performance) -> Numbers:
    length = np.log(np.maximum(performance.offset_s - performance.onset_s, _FLOOR_S))
    later = np.searchsorted(performance.onset_s, performance.onset_s + 0.05)
    has_next = later < performance.n_notes
    to_next = np.log(np.maximum(performance.onset_s[later[has_next]] - performance.onset_s[has_next], _FLOOR_S))
    legato = length[has_next] - to_next
    high = performance.pitch >= np.median(performance.pitch)
    return {
        **_spread("log_length", length),
        **_spread("legato", legato),
        "overlapping_share": float((legato > 0).mean()) if legato.size else 0.0,
        "detached_share": float((legato < -0.5).mean()) if legato.size else 0.0,
        "short_share": float((length < np.log(0.15)).mean()),
        "high_log_length": float(length[high].mean()),
        "low_log_length": float(length[~high].mean()) if (~high).any() else float(length.mean()),
        "length_by_velocity": _correlation(length, performance.velocity.astype(np.float64)),
    }


def _pedal(performance: Performance) -> Numbers:
    """The sustain pedal on a 20 ms grid over the sounding part, and what it holds past the keys' release."""
    begin, end = float(performance.onset_s[0]), float(performance.offset_s.max())
    grid = np.arange(begin, end, 0.02)
    value = pedal_at(performance.pedal_s, performance.pedal_value, grid).astype(np.float64)
    down = value >= SUSTAIN_ON
    presses = np.flatnonzero(np.diff(down.astype(int)) == 1)
    lifts = np.flatnonzero(np.diff(down.astype(int)) == -1)
    seconds = max(end - begin, _FLOOR_S)
    since_lift = _since_press(grid[presses], performance.onset_s)
    held = _held_s(performance, grid, down)
    sounding = np.maximum(performance.offset_s, held) - performance.onset_s
    active = (
        (performance.onset_s[:, None] <= grid[::5]) & (np.maximum(performance.offset_s, held)[:, None] > grid[::5])
    ).sum(0)
    return {
        "pedal_down_share": float(down.mean()),
        "pedal_depth": float(value.mean()),
        "pedal_depth_sd": float(value.std()),
        "pedal_half_share": float(((value > 10) & (value < 110)).mean()),
        "pedal_presses_per_s": presses.size / seconds,
        "pedal_log_hold": float(np.log(down.sum() * 0.02 / max(presses.size, 1) + 0.1)),
        "pedal_lifts_per_note": lifts.size / performance.n_notes,
        "pedal_press_after_onset_s": since_lift,
        "pedal_held_notes": float((held > performance.offset_s + 0.05).mean()),
        "pedal_log_sounding": float(np.log(np.maximum(sounding, _FLOOR_S)).mean()),
        "pedal_blur": float(active.mean()),
        "pedal_blur_p90": float(np.percentile(active, 90)),
    }


def _since_press(press_s: NDArray[np.float64], onset_s: NDArray[np.float64]) -> float:
    """Median time from the nearest onset at or before a pedal press to that press; 0 without presses."""
    if press_s.size == 0:
        return 0.0
    before = np.maximum(np.searchsorted(onset_s, press_s, side="right") - 1, 0)
    return float(np.median(np.minimum(np.abs(press_s - onset_s[before]), 1.0)))


def _held_s(performance: Performance, grid: NDArray[np.float64], down: NDArray[np.bool_]) -> NDArray[np.float64]:
    """When each note's damper falls: at its release, or at the first moment after it when the pedal is up."""
    up = np.flatnonzero(~down)
    at = np.searchsorted(grid, performance.offset_s)
    following = np.searchsorted(up, at)
    last = grid[-1]
    return np.array([grid[up[k]] if k < up.size else last for k in following])


def _texture(performance: Performance, groups: list[NDArray[np.intp]]) -> Numbers:
    """Statistics of the composition; but for mistakes they are the same for every performance of a passage."""
    pitch = performance.pitch.astype(np.float64)
    return {
        "pitch_mean": float(pitch.mean()),
        "pitch_sd": float(pitch.std()),
        "pitch_top": float(np.percentile(pitch, 95)),
        "chord_size": performance.n_notes / len(groups),
        "repeated_pitch_share": float((np.diff(pitch) == 0).mean()),
    }
