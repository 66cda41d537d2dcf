"""Statistics of a row's notes and pedal that mean nothing in music, chosen to tell degraded rows from pristine ones.

They look for what a program leaves behind: time grids, exact repeats, floors and ceilings, holes in histograms, the spacing of
pedal events. All are computed on the events inside the window.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from keybed.extract.music.performance import Performance

GRIDS_HZ = (480.0, 768.0, 960.0, 1000.0, 1024.0)
"""Ticks per second: MAESTRO's two resolutions at its tempo, export's, milliseconds and a binary grid."""
SAME_S = 5e-6
"""Two times or lengths closer than this are an exact repeat."""
EXPORTED_TICK_S = 1 / 960

Array = NDArray[np.float64]


def fingerprint_statistics(p: Performance, window_s: float) -> dict[str, float]:
    """Name → value of every statistic; 0 where there is nothing to measure."""
    inside = (p.onset_s >= 0) & (p.onset_s < window_s)
    on, off = p.onset_s[inside], p.offset_s[inside]
    pitch, velocity = p.pitch[inside].astype(np.int64), p.velocity[inside].astype(np.int64)
    in_pedal = (p.pedal_s >= 0) & (p.pedal_s < window_s)
    pedal_s, value = p.pedal_s[in_pedal], p.pedal_value[in_pedal].astype(np.int64)
    measures = {
        **_grids(on, off, pedal_s),
        **_lengths(on, off),
        **_ties(on, off, pitch),
        **_velocities(on, velocity),
        **_pedal(pedal_s, value),
        **_ends(on, off, pedal_s, window_s),
    }
    return {name: float(x) if np.isfinite(x) else 0.0 for name, x in measures.items()}


def _grids(on: Array, off: Array, pedal_s: Array) -> dict[str, float]:
    """How well times fit a grid of unknown phase, and whether their floats are short."""
    measures = {}
    for name, times in (("onset", on), ("offset", off), ("length", off - on), ("pedal", pedal_s)):
        for grid in GRIDS_HZ:
            measures[f"{name} on {grid:.0f} Hz"] = _resultant(times, grid)
        scaled = times * 2.0**20
        measures[f"{name} on 2^-20"] = _share(scaled == np.round(scaled))
        measures[f"{name} on microseconds"] = _share(np.abs(times * 1e6 - np.round(times * 1e6)) < 1e-3)
    return measures


def _lengths(on: Array, off: Array) -> dict[str, float]:
    length = off - on
    log = np.log10(np.maximum(length, 1e-4))
    near = _beside(on)
    measures = {
        "shortest length": log.min(initial=0.0),
        "second shortest length": np.sort(log)[1] if log.size > 1 else 0.0,
        "longest length": log.max(initial=-4.0),
        "lengths of 20 ms": _share(np.abs(length - 0.02) < 6e-4),
        "lengths of 10 ms": _share(np.abs(length - 0.01) < 6e-4),
        "lengths below 5 ms": _share(length < 0.005),
        "lengths below 20 ms": _share(length < 0.0199),
        "lengths 20 to 30 ms": _share((length > 0.0199) & (length < 0.03)),
        "lengths 40 to 120 ms": _share((length > 0.04) & (length < 0.12)),
        "lengths repeated exactly": _repeats(length, SAME_S),
        "lengths repeated to a tick": _repeats(length, EXPORTED_TICK_S / 2),
        "lengths of a chord repeated exactly": _share(np.abs(length[near] - length[near - 1]) < SAME_S),
        "lengths of a chord repeated to a tick": _share(np.abs(length[near] - length[near - 1]) < EXPORTED_TICK_S),
    }
    if length.size > 3:
        middle = np.sort(log)
        measures["widest hole in lengths"] = np.diff(middle[1:-1]).max(initial=0.0)
        measures["ratio of the two shortest"] = middle[1] - middle[0]
    else:
        measures |= {"widest hole in lengths": 0.0, "ratio of the two shortest": 0.0}
    return measures


def _ties(on: Array, off: Array, pitch: NDArray[np.int64]) -> dict[str, float]:
    """Equal onsets and offsets, lags that repeat, and the gap between a release and the next stroke of the key."""
    step = np.diff(on)
    order = np.lexsort((on, pitch))
    same = pitch[order][1:] == pitch[order][:-1]
    gap = (on[order][1:] - off[order][:-1])[same]
    again = np.diff(on[order])[same]
    steps = np.diff(np.sort(off))
    tied = step < SAME_S
    return {
        "onsets tied": _share(tied),
        "onsets tied to a tick": _share(step < EXPORTED_TICK_S / 2),
        "onset lags repeated exactly": _repeats(step, SAME_S),
        "onset lags repeated to a tick": _repeats(step, EXPORTED_TICK_S / 2),
        "offsets tied": _share(steps < SAME_S),
        "offsets tied to a tick": _share(steps < EXPORTED_TICK_S / 2),
        "offset lags repeated exactly": _repeats(steps, SAME_S),
        "offsets tied to onsets": _share(_nearest(off, on) < SAME_S),
        "offsets tied to onsets to a tick": _share(_nearest(off, on) < EXPORTED_TICK_S / 2),
        "key released as it is struck": _share(np.abs(gap) < EXPORTED_TICK_S / 2),
        "key return of 10 ms": _share(np.abs(gap - 0.01) < 6e-4),
        "key return below 30 ms": _share(gap < 0.03),
        "key return below 60 ms": _share(gap < 0.06),
        "shortest key return": gap.min(initial=1.0),
        "key returns repeated to a tick": _repeats(gap, EXPORTED_TICK_S / 2),
        "shortest time between strokes of a key": again.min(initial=1.0),
        "pitches in order within ties": _share(np.diff(pitch)[tied] > 0),
        "pitches in order within chords": _share(np.diff(pitch)[step < 0.03] > 0),
        "onset lags 20 to 40 ms": _share((step > 0.02) & (step < 0.04)),
        "commonest onset lag": _commonest(step),
        "holes among onset lags": _holes(step),
        "commonest offset lag": _commonest(steps),
        "holes among offset lags": _holes(steps),
        "different onset lags in ms": _different(step),
        "offsets up to 5 ms before an onset": _share(_until(off, on) < 0.005),
        "offsets up to 5 ms after an onset": _share(_until(-off, -on[::-1]) < 0.005),
    }


def _velocities(on: Array, velocity: NDArray[np.int64]) -> dict[str, float]:
    count = np.bincount(velocity, minlength=128)
    used = np.flatnonzero(count)
    span = used[-1] - used[0] + 1 if used.size else 1
    near, n = _beside(on), max(velocity.size, 1)
    middle = np.percentile(velocity, [5, 95]) if velocity.size else np.zeros(2)
    inner = count[int(middle[0]) : int(middle[1]) + 1]
    return {
        "distinct velocities": used.size / n,
        "distinct velocities in their span": used.size / span,
        "holes among middle velocities": _share(inner == 0),
        "velocities used once": float((count == 1).sum()) / n,
        "commonest velocity": float(count.max()) / n,
        "even velocities": _share(velocity % 2 == 0),
        "velocities divisible by five": _share(velocity % 5 == 0),
        "velocity repeated by the next note": _share(np.diff(velocity) == 0),
        "velocity repeated in a chord": _share(velocity[near] == velocity[near - 1]),
        "velocity steps of one": _share(np.abs(np.diff(velocity)) == 1),
        "velocity steps repeated": _share(np.diff(velocity, 2) == 0),
        "velocity steps of two at most": _share(np.abs(np.diff(velocity)) <= 2),
        "largest velocity step": np.abs(np.diff(velocity)).max(initial=0),
        "entropy of velocity steps": _entropy(np.diff(velocity)),
        "widest hole in velocities": np.diff(used).max(initial=0),
        "velocities divisible by three": _share(velocity % 3 == 0),
        "runs of rising or falling velocity": _mean_run(np.sign(np.diff(velocity))),
        "softest velocity": velocity.min(initial=127),
        "second softest above the softest": float(np.diff(np.sort(velocity))[:1].sum()),
        "loudest velocity": velocity.max(initial=0),
        "velocities 1 or 127": _share((velocity == 1) | (velocity == 127)),
    }


def _pedal(pedal_s: Array, value: NDArray[np.int64]) -> dict[str, float]:
    step_s, step = np.diff(pedal_s), np.diff(value)
    close = step_s[step_s < 0.04]
    period = float(np.median(close)) if close.size else 0.02
    down = value[value >= 64]
    turns = np.sign(step[1:]) * np.sign(step[:-1])
    plateau = (value[1:-1] >= 64) & (turns < 0) if value.size > 2 else np.zeros(0, bool)
    return {
        "pedal events": float(value.size),
        "distinct pedal values": np.unique(value).size / max(value.size, 1),
        "pedal values 64 to 79": _share((value >= 64) & (value < 80)),
        "pedal values 64 to 71": _share((value >= 64) & (value < 72)),
        "pedal values 48 to 63": _share((value >= 48) & (value < 64)),
        "lowest value of a pedal that is down": down.min(initial=127),
        "pedal values 0": _share(value == 0),
        "pedal values 127": _share(value == 127),
        "commonest pedal value": float(np.bincount(value, minlength=128).max()) / max(value.size, 1),
        "pedal value repeated": _share(step == 0),
        "pedal steps": float(np.abs(step).mean()) if step.size else 0.0,
        "largest pedal step": float(np.abs(step).max(initial=0)),
        "pedal steps repeated": _share(np.diff(step) == 0),
        "turns of a pedal that is down": _share(plateau),
        "pedal spacing": period,
        "pedal spacing, relative sd": float(close.std()) / period if close.size > 2 else 0.0,
        "pedal spacing at its median": _share(np.abs(close - period) < 6e-4),
        "pedal spacing below 12 ms": _share(step_s < 0.012),
        "pedal spacing 25 to 34 ms": _share((step_s > 0.025) & (step_s < 0.034)),
        "pedal spacing repeated exactly": _repeats(step_s, SAME_S),
        "pedal events on their own period": _resultant(step_s[step_s < 0.3], 1 / period),
        "entropy of pedal values": _entropy(value),
        "rising pedal events": _share(step > 0),
        "turns of the pedal": _share(turns < 0),
        "second steps of the pedal": float(np.abs(np.diff(value, 2)).mean()) if value.size > 2 else 0.0,
        "pauses of the pedal": float((step_s > 0.3).sum()),
        "commonest pedal spacing": _commonest(step_s),
        "holes among pedal spacings": _holes(step_s),
        "longest pause of a pedal that is down": float(step_s[value[:-1] >= 64].max(initial=0.0)),
        "longest pause of a pedal that is up": float(step_s[value[:-1] < 64].max(initial=0.0)),
    }


def _ends(on: Array, off: Array, pedal_s: Array, window_s: float) -> dict[str, float]:
    return {
        "first onset": on[0] if on.size else 0.0,
        "last onset": window_s - on[-1] if on.size else 0.0,
        "last offset": off.max() if off.size else 0.0,
        "first pedal event": pedal_s[0] if pedal_s.size else 0.0,
        "last pedal event": window_s - pedal_s[-1] if pedal_s.size else 0.0,
        "onsets on an edge": float(((on < 1e-6) | (on > window_s - 1e-6)).sum()),
    }


def _share(mask: NDArray[np.bool_]) -> float:
    return float(mask.mean()) if mask.size else 0.0


def _resultant(times: Array, grid_hz: float) -> float:
    """1 where all times lie on one grid of any phase; about 0.9 / sqrt(n) for times on none."""
    return float(np.abs(np.exp(2j * np.pi * grid_hz * times).mean())) if times.size else 0.0


def _repeats(values: Array, tolerance: float) -> float:
    """Share of sorted neighbours that are closer than the tolerance."""
    return _share(np.diff(np.sort(values)) < tolerance)


def _entropy(values: NDArray[np.int64]) -> float:
    _, count = np.unique(values, return_counts=True)
    share = count / max(values.size, 1)
    return float(-(share * np.log(share)).sum())


def _mean_run(values: NDArray[np.int64]) -> float:
    """Mean length of runs of one value."""
    return values.size / (1.0 + float((np.diff(values) != 0).sum())) if values.size else 0.0


def _histogram(times: Array) -> NDArray[np.int64]:
    """Counts in bins of 0.2 of log time, from 2.5 ms to 7.4 s."""
    return np.histogram(np.log(np.maximum(times, 1e-6)), 40, (-6.0, 2.0))[0]


def _commonest(times: Array) -> float:
    count = _histogram(times)
    return float(count.max() / max(count.sum(), 1))


def _holes(times: Array) -> float:
    count = _histogram(times)
    used = np.flatnonzero(count)
    return _share(count[used[0] : used[-1]] == 0) if used.size > 1 else 0.0


def _different(times: Array) -> float:
    return np.unique(np.round(times, 3)).size / max(times.size, 1)


def _until(times: Array, others: Array) -> Array:
    """From each time to the next of the others, which are sorted."""
    at = np.searchsorted(others, times)
    following = np.append(others, np.inf)[at]
    return np.asarray(following - times)


def _beside(on: Array) -> NDArray[np.int64]:
    """Indices of notes struck within 30 ms of the note before."""
    return np.flatnonzero(np.diff(on) < 0.03) + 1


def _nearest(times: Array, others: Array) -> Array:
    """Distance of each time to the nearest of the others, which are sorted."""
    if not others.size:
        return np.full(times.size, np.inf)
    at = np.searchsorted(others, times)
    before, after = others[np.maximum(at - 1, 0)], others[np.minimum(at, others.size - 1)]
    return np.asarray(np.minimum(np.abs(times - before), np.abs(times - after)))
