"""Musical measures of a row: what an honest listener may use, so that the fingerprints' reach beyond them can be told."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from keybed.extract.music.harmony import local_key, scale_of
from keybed.extract.music.loudness_trend import loudness_trend
from keybed.extract.music.pedal import lift_times, pedal_at, press_times
from keybed.extract.music.performance import SUSTAIN_ON, Performance

TOGETHER_S = (0.003, 0.01, 0.03, 0.06)
"""Notes are together where their onsets are this close, seconds."""
_CLASHING = (1, 11, 13)
Array = NDArray[np.float64]


def musical_controls(p: Performance, window_s: float) -> dict[str, float]:
    """Name → value: density, lengths, loudness, togetherness, harmony and pedalling of the window; 0 where undefined."""
    inside = (p.onset_s >= 0) & (p.onset_s < window_s)
    on, length = p.onset_s[inside], (p.offset_s - p.onset_s)[inside]
    pitch, velocity = p.pitch[inside].astype(np.int64), p.velocity[inside].astype(np.float64)
    if on.size < 3:
        on, length = np.arange(3.0), np.ones(3)
        pitch, velocity = np.full(3, 60), np.full(3, 64.0)
    measures = {
        **_time(on, length, pitch),
        **_loudness(on, length, pitch, velocity),
        **_harmony(on, length, pitch),
        **_pedal(p, on, window_s),
    }
    return {name: float(x) if np.isfinite(x) else 0.0 for name, x in measures.items()}


def _time(on: Array, length: Array, pitch: NDArray[np.int64]) -> dict[str, float]:
    step = np.diff(on)
    chord_step = step[step > TOGETHER_S[2]]
    log_step = np.log(chord_step) if chord_step.size > 2 else np.zeros(3)
    log_length = np.log(np.maximum(length, 1e-3))
    by_pitch = np.argsort(pitch, kind="stable")
    ahead = on + length
    return {
        "notes": float(on.size),
        "mean log length": log_length.mean(),
        "sd of log length": log_length.std(),
        "roughness of log length": np.abs(np.diff(log_length)).mean(),
        "second roughness of log length": np.abs(np.diff(log_length, 2)).mean(),
        "roughness of log length by pitch": np.abs(np.diff(log_length[by_pitch])).mean(),
        "short notes": (length < 0.06).mean(),
        "length over interval": np.median(np.log(length[:-1] / np.maximum(step, 0.03))),
        "sd of length over interval": np.log(length[:-1] / np.maximum(step, 0.03)).std(),
        "overlaps": (ahead[:-1] > on[1:]).mean(),
        "mean log interval": log_step.mean(),
        "sd of log interval": log_step.std(),
        "commonest interval": _evenness(step),
        "commonest interval between chords": _evenness(chord_step),
        "roughness of log interval": np.abs(np.diff(log_step)).mean(),
        "second roughness of log interval": np.abs(np.diff(log_step, 2)).mean(),
        **{f"together within {1000 * s:.0f} ms": (step < s).mean() for s in TOGETHER_S},
        "spread of chords": step[step < TOGETHER_S[3]].mean() if (step < TOGETHER_S[3]).any() else 0.0,
    }


def _evenness(interval_s: Array) -> float:
    """Share of the intervals in the commonest bin of 0.2 of log time: how even the rhythm is."""
    count = np.histogram(np.log(np.maximum(interval_s, 1e-6)), 40, (-6.0, 2.0))[0]
    return float(count.max() / max(count.sum(), 1))


def _loudness(on: Array, length: Array, pitch: NDArray[np.int64], velocity: Array) -> dict[str, float]:
    trend = loudness_trend(on, velocity.astype(np.int16))
    beside = np.flatnonzero(np.diff(on) < TOGETHER_S[2])
    softer = np.minimum(velocity[beside], velocity[beside + 1]) / np.maximum(velocity[beside], velocity[beside + 1])
    shorter = np.minimum(length[beside], length[beside + 1]) / np.maximum(length[beside], length[beside + 1])
    low, high = np.percentile(velocity, [5, 95])
    return {
        "mean velocity": velocity.mean(),
        "sd of velocity": velocity.std(),
        "range of velocity": high - low,
        "sd from the loudness trend": (velocity - trend).std(),
        "sd of the loudness trend": trend.std(),
        "velocity steps": np.abs(np.diff(velocity)).mean(),
        "loudness by pitch": np.corrcoef(pitch + 1e-9 * on, velocity + 1e-9 * on)[0, 1],
        "soft notes beside a neighbour": (softer < 0.6).sum() / on.size,
        "softest beside a neighbour": softer.min(initial=1.0),
        "short notes beside a neighbour": (shorter < 0.4).sum() / on.size,
        "soft and short beside a neighbour": ((softer < 0.7) & (shorter < 0.5)).sum() / on.size,
    }


def _harmony(on: Array, length: Array, pitch: NDArray[np.int64]) -> dict[str, float]:
    scale = np.array(sorted(scale_of(*local_key(pitch.astype(np.int16), length))))
    foreign = ~np.isin(pitch % 12, scale)
    clash = np.zeros(on.size, bool)
    for back in range(1, min(8, on.size)):
        close = (on[back:] - on[:-back] < 0.1) & np.isin(np.abs(pitch[back:] - pitch[:-back]), _CLASHING)
        clash[back:] |= close
    profile = np.bincount(pitch % 12, weights=length, minlength=12)
    leaps = np.abs(np.diff(pitch))
    return {
        "notes outside the key": foreign.mean(),
        "clashes": clash.mean(),
        "clashes within 30 ms": (np.isin(leaps, _CLASHING) & (np.diff(on) < TOGETHER_S[2])).mean(),
        "evenness of pitch classes": float(-(q := profile / profile.sum()) @ np.log(q + 1e-9)),
        "rarest pitch classes": np.sort(profile)[:5].sum() / profile.sum(),
        "leaps": leaps.mean(),
        "mean pitch": pitch.mean(),
        "notes at a time": length.sum() / max(on[-1] - on[0], 0.1),
    }


def _pedal(p: Performance, on: Array, window_s: float) -> dict[str, float]:
    lifts, presses = (times(p.pedal_s, p.pedal_value) for times in (lift_times, press_times))
    lifts, presses = lifts[(lifts >= 0) & (lifts < window_s)], presses[(presses >= 0) & (presses < window_s)]
    value = pedal_at(p.pedal_s, p.pedal_value, np.linspace(0, window_s, 500, endpoint=False))
    after = lifts - on[np.searchsorted(on, lifts).clip(1) - 1] if lifts.size else np.zeros(1)
    until = on[np.searchsorted(on, lifts).clip(max=on.size - 1)] - lifts if lifts.size else np.zeros(1)
    pressed = presses - on[np.searchsorted(on, presses).clip(1) - 1] if presses.size else np.zeros(1)
    held = [presses[presses > t][:1] - t for t in lifts]
    up_s = np.concatenate(held) if held else np.zeros(0)
    return {
        "pedal down": (value >= SUSTAIN_ON).mean(),
        "mean pedal": value.mean(),
        "half pedal": ((value > 20) & (value < 110)).mean(),
        "lifts": float(lifts.size),
        "lift after a note": after.mean(),
        "lift before a note": until.mean(),
        "sd of lift after a note": after.std(),
        "press after a note": pressed.mean(),
        "sd of press after a note": pressed.std(),
        "time up": up_s.mean() if up_s.size else 0.0,
        "shortest time up": up_s.min(initial=2.0),
        "longest hold": np.diff(lifts).max(initial=0.0),
        "shortest hold": np.diff(lifts).min(initial=10.0),
    }
