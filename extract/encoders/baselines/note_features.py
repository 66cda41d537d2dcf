"""The first measures of the `expressive` baseline: per note, per pedal lift, per 10 ms step, per bin. Pure numpy.

All use only the window (and notes of the pre-roll that still sound in it). Their names are the store's channel names;
docs/expressive.md gives unit, meaning and weakness of each. A chord is a run of onsets at most 30 ms apart.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from keybed.extract.encoders.baselines.events import changes, side_by_side
from keybed.extract.encoders.baselines.nearness import near_within, struck_within
from keybed.extract.encoders.pooling import note_bins
from keybed.extract.music.chords import CHORD_GAP_S, chord_numbers, chord_starts
from keybed.extract.music.harmony import CLASHING_INTERVALS
from keybed.extract.music.loudness_trend import TREND_SIGMA_S
from keybed.extract.music.pedal import lift_times, pedal_at, press_times
from keybed.extract.music.performance import SUSTAIN_ON, Performance

STEP_S = 0.010

NOTE_CHANNELS = (
    "velocity",
    "velocity_trend",
    "velocity_deviation",
    "voicing",
    "ioi_log2",
    "pulse_deviation_ms",
    "pulse_deviation_abs_ms",
    "chord_spread_ms",
    "length_log2",
    "length_ratio_log2",
    "length_jump_log2",
    "overlap_s",
    "pedal_at_onset",
    "pedal_lag_s",
    "pitch",
    "clash",
    "pitch_class_surprise",
)
LIFT_CHANNELS = ("lift_to_onset_s", "lift_depth")
STEP_CHANNELS = ("pedal_depth", "pedal_down", "pedal_half", "held_keys", "rest")
RATE_CHANNELS = ("note_rate_hz", "chord_rate_hz", "lift_rate_hz", "pedal_travel_hz")

_SHARES = np.array([1 / 4, 1 / 3, 1 / 2, 2 / 3, 3 / 4])
_CLASHES = np.isin(np.arange(128), CLASHING_INTERVALS)
"""Whether two keys so many semitones apart clash."""


def note_measures(notes: Performance, window_s: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Onsets within the window, float64 (n,), and their NOTE_CHANNELS, float64 (n, 17)."""
    starts = chord_starts(notes.onset_s, max_gap_s=CHORD_GAP_S)
    chord, chord_s = chord_numbers(starts), notes.onset_s[starts]
    length = notes.offset_s - notes.onset_s
    before = np.diff(chord_s, prepend=chord_s[0] - 1.0)[chord] if chord_s.size else np.zeros(0)
    next_s = np.append(chord_s[1:], np.inf)[chord] if chord_s.size else np.zeros(0)
    last = ~np.isfinite(next_s)
    # The last chord has no next onset: it counts as exactly legato.
    to_next = np.where(last, length, next_s - notes.onset_s)
    ratio = np.minimum(np.maximum(np.log2(length / np.maximum(to_next, 1e-3)), -4), 4)
    deviation = _pulse_deviation_ms(chord_s)[chord] if chord_s.size else np.zeros(0)

    velocity = notes.velocity.astype(np.float64)
    within = struck_within(notes, window_s)
    onset_s = notes.onset_s[within]
    near = near_within(notes, window_s, TREND_SIGMA_S)
    trend = (near * velocity[within]).sum(1) / near.sum(1)
    measures = side_by_side(
        [
            velocity[within],
            trend,
            velocity[within] - trend,
            (velocity - _group_mean(velocity, chord))[within],
            np.clip(np.log2(before[within]), -6, 6),
            deviation[within],
            np.abs(deviation[within]),
            1e3 * (notes.onset_s - chord_s[chord])[within],
            np.log2(np.maximum(length[within], 1e-3)),
            ratio[within],
            np.abs(changes(ratio))[within],
            np.clip(np.where(last, 0.0, notes.offset_s - next_s), -2, 2)[within],
            pedal_at(notes.pedal_s, notes.pedal_value, onset_s).astype(np.float64) / 127.0,
            _lag_to_next(onset_s, press_times(notes.pedal_s, notes.pedal_value)),
            notes.pitch[within].astype(np.float64),
            _clashes(notes)[within],
            _surprise(notes.pitch[within]),
        ]
    )
    return onset_s, measures


def lift_measures(notes: Performance, window_s: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pedal lifts within the window, float64 (k,), and their LIFT_CHANNELS, float64 (k, 2)."""
    lift_s = lift_times(notes.pedal_s, notes.pedal_value)
    lift_s = lift_s[(lift_s >= 0) & (lift_s < window_s)]
    if notes.n_notes == 0:
        return lift_s, side_by_side([np.ones_like(lift_s), np.zeros_like(lift_s)])
    after = np.searchsorted(notes.onset_s, lift_s)
    since = lift_s - notes.onset_s[np.maximum(after - 1, 0)]
    until = lift_s - notes.onset_s[np.minimum(after, notes.n_notes - 1)]
    nearest = np.where(np.abs(since) <= np.abs(until), since, until)
    depth = np.array(
        [
            notes.pedal_value[first:end].min(initial=127)
            for first, end in zip(*(notes.pedal_s.searchsorted(s) for s in (lift_s, lift_s + 0.3)), strict=True)
        ],
        np.float64,
    )
    return lift_s, side_by_side([np.minimum(np.maximum(nearest, -1), 1), depth / 127.0])


def step_measures(notes: Performance, window_s: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Middles of the window's 10 ms steps, float64 (s,), and their STEP_CHANNELS, float64 (s, 5)."""
    step_s: NDArray[np.float64] = (np.arange(round(window_s / STEP_S), dtype=np.float64) + 0.5) * STEP_S
    value = pedal_at(notes.pedal_s, notes.pedal_value, step_s).astype(np.float64)
    held = np.searchsorted(notes.onset_s, step_s, side="right") - np.searchsorted(
        np.sort(notes.offset_s), step_s, side="right"
    )
    down = value >= SUSTAIN_ON
    half = (value >= 20) & (value < 108)
    return step_s, side_by_side([value / 127.0, down, half, held, (held == 0) & ~down])


def bin_rates(notes: Performance, n_bins: int, window_s: float) -> NDArray[np.float64]:
    """RATE_CHANNELS of each bin, float64 (n_bins, 4)."""
    travel = np.abs(changes(notes.pedal_value.astype(np.float64))) / 127.0
    chord_s = notes.onset_s[chord_starts(notes.onset_s, max_gap_s=CHORD_GAP_S)]
    events = (notes.onset_s, chord_s, lift_times(notes.pedal_s, notes.pedal_value), notes.pedal_s)
    counts = []
    for time_s, weight in zip(events, (None, None, None, travel), strict=True):
        bins = note_bins(time_s, n_bins, window_s)
        within = bins >= 0
        counts.append(np.bincount(bins[within], None if weight is None else weight[within], n_bins).astype(np.float64))
    return side_by_side(counts) * (n_bins / window_s)


def _pulse_deviation_ms(chord_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """0 for the first and the last chord, and where the neighbours are more than 2 s apart (no pulse to speak of)."""
    deviation = np.zeros(chord_s.size)
    if chord_s.size >= 3:
        span = chord_s[2:] - chord_s[:-2]
        share = (chord_s[1:-1] - chord_s[:-2]) / span
        nearest = _SHARES[np.abs(share[:, None] - _SHARES).argmin(1)]
        deviation[1:-1] = np.where(span <= 2.0, 1e3 * (share - nearest) * span, 0.0)
    return deviation


def _group_mean(value: NDArray[np.float64], group: NDArray[np.intp]) -> NDArray[np.float64]:
    return (np.bincount(group, value) / np.maximum(np.bincount(group), 1))[group]


def _lag_to_next(onset_s: NDArray[np.float64], press_s: NDArray[np.float64]) -> NDArray[np.float64]:
    following = np.append(press_s, np.inf)[np.searchsorted(press_s, onset_s)]
    return np.minimum(following - onset_s, 1.0)


def _clashes(notes: Performance) -> NDArray[np.float64]:
    """How many keys held at each onset (struck before it or with it, in the array's order) clash with it."""
    held = (notes.onset_s <= notes.onset_s[:, None]) & (notes.offset_s > notes.onset_s[:, None])
    pitch = notes.pitch.astype(np.int64)
    held &= _CLASHES[np.abs(pitch[:, None] - pitch)]
    return np.count_nonzero(held, axis=1).astype(np.float64)


def _surprise(pitch: NDArray[np.int16]) -> NDArray[np.float64]:
    count = np.bincount(pitch.astype(np.int64) % 12, minlength=12) + 1.0
    return -np.log2(count / count.sum())[pitch.astype(np.int64) % 12]
