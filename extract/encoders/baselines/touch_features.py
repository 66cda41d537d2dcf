"""Measures of the `expressive` baseline that disturbed dynamics change: how well a note's velocity fits its neighbours and its place.

Velocities that change places keep mean, spread and every count; only their relation to pitch, time and voice is lost.
docs/expressive.md gives unit, meaning and weakness of each channel.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from keybed.extract.encoders.baselines.contexts import Contexts
from keybed.extract.encoders.baselines.events import Events, changes, side_by_side
from keybed.extract.encoders.baselines.nearness import followers_within, near_within, struck_within
from keybed.extract.music.chords import CHORD_GAP_S, chord_numbers, chord_starts
from keybed.extract.music.performance import Performance

TOUCH_CHANNELS = (
    "touch_from_alike",
    "touch_residual",
    "touch_change_by_pitch",
    "voice_touch_change",
    "voice_touch_product",
    "top_voicing",
)
TOUCH_CONTEXTS = (
    "touch_fits_alike_near",
    "touch_fits_alike",
    "touch_fits_pitch",
    "touch_fits_place",
    "voice_touch_correlation",
)
LOCAL_S = 1.5
"""sd in seconds of the Gaussian of the loudness trend and of alike notes; half of it for those alike and near."""
ALIKE_SEMITONES, NEAR_SEMITONES = 2.0, 4.0
"""sd in semitones of alike notes, and of those alike and near."""
_ALIKE, _NEAR = (np.exp(-0.5 * np.arange(128.0) ** 2 / sd**2) for sd in (ALIKE_SEMITONES, NEAR_SEMITONES))
"""These Gaussians, by the semitones between two keys."""
ALIKE_WEIGHT = 1e-3
"""Weight of the loudness trend beside the notes alike, where there are none."""
RIDGE = 2.0
"""Penalty of the regression of velocity on a note's place, in notes."""


class Touch(NamedTuple):
    """n notes within the window. deviation: velocity minus the loudness trend. alike, alike_near: mean velocity of other notes
    alike, minus the trend. place: what pitch, length, rhythm and place in the chord predict of the deviation. All but onset_s and
    pitch in units of spread: 1 + the window's sd of velocity."""

    onset_s: NDArray[np.float64]
    pitch: NDArray[np.float64]
    velocity: NDArray[np.float64]
    deviation: NDArray[np.float64]
    alike: NDArray[np.float64]
    alike_near: NDArray[np.float64]
    place: NDArray[np.float64]
    following: NDArray[np.intp]
    """The next note of the voice, −1 where there is none."""
    top: NDArray[np.bool_]
    """The highest of several notes of a chord."""
    chord_mean: NDArray[np.float64]

    def next_deviation(self) -> NDArray[np.float64]:
        """The deviation of each note's successor, 0 where there is none."""
        return np.where(self.following >= 0, self.deviation[self.following], 0.0) if self.pitch.size else self.pitch


def touch_of(notes: Performance, window_s: float) -> Touch:
    """What the measures of this module are computed from."""
    within = struck_within(notes, window_s)
    on, keys, pitch = notes.onset_s[within], notes.pitch[within].astype(np.intp), notes.pitch[within].astype(np.float64)
    velocity = notes.velocity[within].astype(np.float64)
    velocity = velocity / (1.0 + (velocity.std() if velocity.size else 0.0))
    near = near_within(notes, window_s, LOCAL_S).copy()
    trend = near @ velocity / near.sum(axis=1)
    np.fill_diagonal(near, 0.0)
    apart = np.abs(keys[:, None] - keys)
    # The fourth power of a Gaussian has half its sd.
    half = np.square(np.square(near))
    alike = _mean_of(near * _ALIKE.take(apart), velocity, trend)
    alike_near = _mean_of(half * _NEAR.take(apart), velocity, trend)

    chord = chord_numbers(chord_starts(on, max_gap_s=CHORD_GAP_S))
    n_chords = int(chord[-1]) + 1 if on.size else 0
    highest, lowest = np.full(n_chords, -1.0), np.full(n_chords, 999.0)
    np.maximum.at(highest, chord, pitch)
    np.minimum.at(lowest, chord, pitch)
    size = np.bincount(chord, minlength=n_chords)
    several = size[chord] > 1
    top, bottom = several & (pitch == highest[chord]), several & (pitch == lowest[chord])
    causes = _causes(on, (notes.offset_s - notes.onset_s)[within], pitch, top, bottom, size[chord])
    return Touch(
        on,
        pitch,
        velocity,
        velocity - trend,
        alike - trend,
        alike_near - trend,
        _fitted(causes, velocity - trend),
        followers_within(notes, window_s),
        top,
        (np.bincount(chord, velocity, n_chords) / np.maximum(size, 1))[chord],
    )


def touch_measures(t: Touch) -> Events:
    """TOUCH_CHANNELS at the onsets within the window."""
    order = np.lexsort((t.onset_s, t.pitch))
    jumps = np.zeros(t.velocity.size)
    jumps[order] = np.abs(changes(t.velocity[order]))
    following = t.next_deviation()
    return Events.of(
        t.onset_s,
        [
            np.abs(t.deviation - t.alike_near),
            np.abs(t.deviation - t.place),
            jumps,
            np.where(t.following >= 0, np.abs(t.deviation - following), 0.0),
            t.deviation * following,
            np.where(t.top, t.velocity - t.chord_mean, 0.0),
        ],
    )


def touch_contexts(t: Touch, contexts: Contexts) -> list[NDArray[np.float64]]:
    """TOUCH_CONTEXTS, tables of n_bins + 1 rows."""
    fits = side_by_side([t.alike_near, t.alike, t.pitch / 12, t.place, t.next_deviation()])
    return [contexts.correlations(t.deviation, fits)]


def _mean_of(
    weight: NDArray[np.float64], velocity: NDArray[np.float64], trend: NDArray[np.float64]
) -> NDArray[np.float64]:
    total = weight.sum(axis=1)
    return np.asarray((weight @ velocity + ALIKE_WEIGHT * trend) / (total + ALIKE_WEIGHT))


def _causes(
    on: NDArray[np.float64],
    length: NDArray[np.float64],
    pitch: NDArray[np.float64],
    top: NDArray[np.bool_],
    bottom: NDArray[np.bool_],
    size: NDArray[np.intp],
) -> NDArray[np.float64]:
    """What a note's velocity may follow from, centred, float64 (n, 8)."""
    following = np.append(on, on[-1:] + 1.0)[np.searchsorted(on, on + CHORD_GAP_S, side="right")]
    previous = np.append(on[:1] - 1.0, on)[np.searchsorted(on, on - CHORD_GAP_S)]
    causes = side_by_side(
        [
            pitch / 12,
            (pitch / 12) ** 2,
            np.log2(np.maximum(length, 0.0) + 0.02),
            top,
            bottom,
            np.log2(np.minimum(following - on, 4.0) + 0.02),
            np.log2(np.minimum(np.maximum(on - previous, 0.02), 4.0)),
            np.log2(size),
        ]
    )
    return np.asarray(causes - causes.mean(axis=0)) if on.size else causes


def _fitted(causes: NDArray[np.float64], deviation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Prediction of a ridge regression."""
    gram = causes.T @ causes + RIDGE * np.eye(causes.shape[1])
    return np.asarray(causes @ np.linalg.solve(gram, causes.T @ deviation))
