"""Measures of the `expressive` baseline that a spoiled pedal changes: gaps, holds, periods, harmony that the pedal mixes, lags.

docs/expressive.md gives unit, meaning and weakness of each channel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from keybed.extract.encoders.baselines.contexts import Contexts
from keybed.extract.encoders.baselines.events import Events
from keybed.extract.encoders.pooling import note_bins
from keybed.extract.music.pedal import lift_times, press_times
from keybed.extract.music.performance import SUSTAIN_ON, Performance

LAGS = ("bass_to_{}_s", "{}_from_usual_log2", "{}_with_bass", "bass_before_{}_log2", "bass_after_{}_log2")
LIFT_LAGS, PRESS_LAGS = (tuple(name.format(event) for name in LAGS) for event in ("lift", "press"))
GAP_CHANNELS = ("pedal_gap_log2", "pedal_hold_log2", "gap_silent_s", "gap_held_keys", *LIFT_LAGS)
PRESS_CHANNELS = PRESS_LAGS
BASS_CHANNELS = ("bass_cleared", "bass_to_next_lift_log2")
HOLD_CHANNELS = ("hold_pitch_classes", "hold_semitones", "hold_foreign", "hold_basses")
DIP_CHANNELS = ("shallow_dip_hz",)
PEDAL_CONTEXTS = (
    "pedal_hold_p10",
    "pedal_hold_p50",
    "pedal_hold_p90",
    *(f"{name}_mean" for name in (*GAP_CHANNELS, *PRESS_CHANNELS, *BASS_CHANNELS)),
)
GAP_RANGE_S, HOLD_RANGE_S = (0.02, 3.0), (0.05, 10.0)
"""Gaps, and holds and periods, are limited to these, in seconds."""
BASS_S, BASS_SEMITONES = 0.5, 2
"""A note is of the bass where it is at most this much above the lowest note struck within this many seconds."""
LIFT_LAG_S, PRESS_LAG_S = 0.1, 0.25
"""Usual lag in seconds of a lift and of a press after the bass onset that they belong to."""
LAG_SIGMA_S = 0.1
"""sd in seconds of the Gaussian around the usual lag."""
LARGEST_LAG_S, FARTHEST_S, LOG_FLOOR_S = 0.6, 2.0, 0.03
"""Limits of lags and of times to an onset or lift, and what is added before a logarithm, in seconds."""
DIP_BELOW = 100
"""A shallow dip turns between the crossing at 64 and this value."""


class Pedalling(NamedTuple):
    """Notes and pedal of a window, and what several measures need: presses and lifts in seconds, pitch classes (n, 12) as 0 and
    1, which notes (n,) are of the bass."""

    notes: Performance
    window_s: float
    press_s: NDArray[np.float64]
    lift_s: NDArray[np.float64]
    classes: NDArray[np.float64]
    bass: NDArray[np.bool_]

    def within(self, time_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """The times that lie in the window."""
        return time_s[(time_s >= 0) & (time_s < self.window_s)]

    def last_press(self, when_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """The last press before each time, −inf where there is none."""
        return np.append(self.press_s, -np.inf)[np.searchsorted(self.press_s, when_s) - 1]


def pedalling_of(notes: Performance, window_s: float) -> Pedalling:
    """What the measures of this module are computed from."""
    pitch = notes.pitch.astype(np.int64)
    classes = np.zeros((pitch.size, 12))
    classes[np.arange(pitch.size), pitch % 12] = 1.0
    near = np.abs(notes.onset_s[:, None] - notes.onset_s) < BASS_S
    lowest = np.where(near, pitch, 200).min(axis=1, initial=200)
    return Pedalling(
        notes,
        window_s,
        press_times(notes.pedal_s, notes.pedal_value),
        lift_times(notes.pedal_s, notes.pedal_value),
        classes,
        pitch <= lowest + BASS_SEMITONES,
    )


def gap_measures(p: Pedalling) -> Events:
    """GAP_CHANNELS at the lifts within the window."""
    lift_s = p.within(p.lift_s)
    next_press = np.append(p.press_s, np.inf)[np.searchsorted(p.press_s, lift_s, side="right")]
    gap_s = np.clip(next_press - lift_s, *GAP_RANGE_S)
    hold = np.log2(np.clip(lift_s - p.last_press(lift_s), *HOLD_RANGE_S))
    # Keys held at five moments of each gap.
    moments = lift_s[:, None] + gap_s[:, None] * np.array([0.1, 0.3, 0.5, 0.7, 0.9])
    held = _keys_held(p.notes, moments)
    silent_s = (held == 0).mean(axis=1) * gap_s
    return Events.of(lift_s, [np.log2(gap_s), hold, silent_s, held.mean(axis=1), *_lags(p, lift_s, LIFT_LAG_S)])


def press_measures(p: Pedalling) -> Events:
    """PRESS_CHANNELS at the presses within the window."""
    press_s = p.within(p.press_s)
    return Events.of(press_s, _lags(p, press_s, PRESS_LAG_S))


def bass_measures(p: Pedalling) -> Events:
    """BASS_CHANNELS at the bass onsets within the window."""
    bass_s = p.within(p.notes.onset_s[p.bass])
    since, until = _around(p.lift_s, bass_s)
    lag = np.where(until <= since, until, -since)
    return Events.of(bass_s, [_closeness(lag, LIFT_LAG_S), np.log2(LOG_FLOOR_S + until)])


def hold_measures(p: Pedalling) -> Events:
    """HOLD_CHANNELS at the begin of each hold that reaches into the window: from a press to the next lift."""
    press_s = p.press_s[p.press_s < p.window_s]
    lifted = np.append(p.lift_s, p.window_s)[np.searchsorted(p.lift_s, press_s, side="right")]
    end_s = np.minimum(lifted, p.window_s)
    kept = (end_s > 0) & (end_s - press_s > HOLD_RANGE_S[0])
    press_s, end_s = press_s[kept], end_s[kept]
    rings = (p.notes.onset_s < end_s[:, None]) & (np.maximum(p.notes.offset_s, 0.0) > press_s[:, None])
    count = rings @ p.classes
    has = count > 0
    # A scale has seven pitch classes: notes of the five least frequent ones are foreign to the rest.
    foreign = np.sort(count, axis=1)[:, :5].sum(axis=1) / np.maximum(count.sum(axis=1), 1)
    basses = (rings & (p.notes.onset_s >= press_s[:, None]) & p.bass) @ p.classes > 0
    semitones = (has & np.roll(has, 1, axis=1)).sum(axis=1)
    return Events.of(np.maximum(press_s, 0.0), [has.sum(axis=1), semitones, foreign, basses.sum(axis=1)])


def dip_rates(notes: Performance, n_bins: int, window_s: float) -> NDArray[np.float64]:
    """DIP_CHANNELS of each bin, float64 (n_bins, 1): turns of the pedal between 64 and DIP_BELOW per second."""
    bins = note_bins(_shallow_turns(notes), n_bins, window_s)
    count = np.bincount(bins[bins >= 0], minlength=n_bins)
    return np.asarray(count[:, None] * (n_bins / window_s), np.float64)


def pedal_contexts(
    gaps: Events, presses: Events, basses: Events, contexts: Callable[[Events], Contexts]
) -> list[NDArray[np.float64]]:
    """PEDAL_CONTEXTS from what `gap_measures`, `press_measures` and `bass_measures` returned, tables of n_bins + 1 rows."""
    at_lifts = contexts(gaps)
    return [
        at_lifts.quantiles(gaps.values[:, 1:2], [(0, 0.1), (0, 0.5), (0, 0.9)]),
        at_lifts.means(gaps.values),
        contexts(presses).means(presses.values),
        contexts(basses).means(basses.values),
    ]


def _around(
    event_s: NDArray[np.float64], when_s: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Seconds since the last event and until the next one, at most FARTHEST_S; an event at the time itself is the last."""
    events = np.concatenate([[-np.inf], event_s, [np.inf]])
    after = np.searchsorted(events, when_s, side="right").clip(1, events.size - 1)
    return np.minimum(when_s - events[after - 1], FARTHEST_S), np.minimum(events[after] - when_s, FARTHEST_S)


def _lags(p: Pedalling, when_s: NDArray[np.float64], usual_s: float) -> list[NDArray[np.float64]]:
    """LAGS of pedal movements: to the nearest bass onset (positive after it), the log2 distance from the window's median lag,
    closeness to the usual lag, and log2 seconds since the last bass onset and until the next."""
    since, until = _around(p.notes.onset_s[p.bass], when_s)
    lag = np.minimum(np.maximum(np.where(since <= until, since, -until), -LARGEST_LAG_S), LARGEST_LAG_S)
    apart = np.abs(lag - _median(lag)) if lag.size else lag
    return [
        lag,
        np.log2(LOG_FLOOR_S + apart),
        _closeness(lag, usual_s),
        np.log2(LOG_FLOOR_S + since),
        np.log2(LOG_FLOOR_S + until),
    ]


def _closeness(lag_s: NDArray[np.float64], usual_s: float) -> NDArray[np.float64]:
    return np.asarray(np.exp(-0.5 * ((lag_s - usual_s) / LAG_SIGMA_S) ** 2))


def _median(values: NDArray[np.float64]) -> float:
    """As np.median, which takes ten times as long for a few values."""
    ordered, half = np.sort(values), values.size // 2
    return float(ordered[half] if values.size % 2 else (ordered[half - 1] + ordered[half]) / 2)


def _keys_held(notes: Performance, when_s: NDArray[np.float64]) -> NDArray[np.float64]:
    begun = np.searchsorted(notes.onset_s, when_s, side="right")
    return np.asarray(begun - np.searchsorted(np.sort(notes.offset_s), when_s, side="right"), np.float64)


def _shallow_turns(notes: Performance) -> NDArray[np.float64]:
    """Times at which the pedal turns upwards at a value from 64 to DIP_BELOW − 1."""
    value = notes.pedal_value.astype(np.int64)
    changed = np.flatnonzero(np.diff(value, prepend=-1) != 0)
    value, time_s = value[changed], notes.pedal_s[changed]
    if value.size < 3:
        return np.zeros(0)
    turns = (value[1:-1] < value[:-2]) & (value[1:-1] < value[2:])
    shallow = (value[1:-1] >= SUSTAIN_ON) & (value[1:-1] < DIP_BELOW)
    return time_s[1:-1][turns & shallow]
