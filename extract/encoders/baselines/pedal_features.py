"""Measures of the `expressive` baseline that a spoiled pedal changes: gaps, holds, periods, harmony that the pedal mixes, lags.

docs/expressive.md gives unit, meaning and weakness of each channel.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from keybed.extract.encoders.baselines.contexts import Contexts
from keybed.extract.encoders.baselines.events import Events
from keybed.extract.encoders.pooling import note_bins
from keybed.extract.music.pedal import lift_times, press_times
from keybed.extract.music.performance import SUSTAIN_ON, Performance

GAP_CHANNELS = ("pedal_gap_log2", "pedal_hold_log2", "bass_to_lift_s")
PERIOD_CHANNELS = ("pedal_period_log2", "pedal_gap_change_log2", "pedal_hold_change_log2")
HOLD_CHANNELS = ("hold_pitch_classes", "hold_semitones", "hold_foreign", "hold_basses")
DIP_CHANNELS = ("shallow_dip_hz",)
PEDAL_CONTEXTS = (
    "pedal_gap_p10",
    "pedal_gap_p50",
    "pedal_gap_p90",
    "pedal_hold_p10",
    "pedal_hold_p50",
    "pedal_hold_p90",
    "pedal_period_p10",
    "pedal_period_p50",
    "pedal_period_max",
)
GAP_RANGE_S, HOLD_RANGE_S = (0.02, 3.0), (0.05, 10.0)
"""Gaps, and holds and periods, are limited to these, in seconds."""
BASS_S, BASS_SEMITONES = 0.5, 2
"""A note is of the bass where it is at most this much above the lowest note struck within this many seconds."""
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


def gap_measures(p: Pedalling) -> tuple[Events, Events]:
    """GAP_CHANNELS at the lifts within the window, and PERIOD_CHANNELS at those after the first of them."""
    lift_s = p.lift_s[(p.lift_s >= 0) & (p.lift_s < p.window_s)]
    next_press = np.append(p.press_s, np.inf)[np.searchsorted(p.press_s, lift_s, side="right")]
    gap = np.log2(np.clip(next_press - lift_s, *GAP_RANGE_S))
    hold = np.log2(np.clip(lift_s - p.last_press(lift_s), *HOLD_RANGE_S))
    at_lift = Events.of(lift_s, [gap, hold, _bass_lag(p, lift_s)])
    period = np.log2(np.clip(np.diff(lift_s), *HOLD_RANGE_S))
    return at_lift, Events.of(lift_s[1:], [period, np.abs(np.diff(gap)), np.abs(np.diff(hold))])


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
    gaps: Events, periods: Events, at_lifts: Contexts, at_periods: Contexts
) -> list[NDArray[np.float64]]:
    """PEDAL_CONTEXTS from what `gap_measures` returned, tables of n_bins + 1 rows."""
    return [
        at_lifts.quantiles(gaps.values[:, :2], [(column, share) for column in (0, 1) for share in (0.1, 0.5, 0.9)]),
        at_periods.quantiles(periods.values[:, :1], [(0, 0.1), (0, 0.5), (0, 1.0)]),
    ]


def _bass_lag(p: Pedalling, lift_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Seconds from the nearest bass onset to each lift, positive after it, limited to ±0.6; 0.6 without notes."""
    bass_s = np.concatenate([[-np.inf], p.notes.onset_s[p.bass], [np.inf]])
    after = np.searchsorted(bass_s, lift_s, side="right").clip(1, bass_s.size - 1)
    since, until = lift_s - bass_s[after - 1], bass_s[after] - lift_s
    return np.clip(np.where(since <= until, since, -until), -0.6, 0.6)


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
