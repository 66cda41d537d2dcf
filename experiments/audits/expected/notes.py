"""How expected a note's length and velocity are, given the notes around it: boosted trees that were fitted to undegraded playing.

For every note one model predicts its log2 length, or its velocity, and one the size of the error of that prediction. A note is
as unexpected as its error is large, in units of the error that is expected there. Channels per note, then contexts as those of
`expressive`:

length_unexpected, velocity_unexpected
    The absolute error over the error that is expected there.
length_off, velocity_off
    The same with its sign: above 0 where the note is longer, or louder, than expected.
length_unexpected_p25, _p50, _p75, length_error_log_sd, velocity_unexpected_p50, velocity_error_log_sd
    Quantiles, and log2 of the standard deviation of the errors themselves, in octaves and in velocity.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor

from keybed.experiments.audits.fingerprints import NotEnoughRows
from keybed.extract.encoders.baselines.contexts import Contexts
from keybed.extract.encoders.baselines.expressive import event_stats
from keybed.extract.music.chords import CHORD_GAP_S
from keybed.extract.music.pedal import pedal_at
from keybed.extract.music.performance import Performance

N_CHANNELS = 10
FEWEST_NOTES = 4
"""A window with fewer notes, those of the 2 s before it included, has 0 in every channel."""
VOICE_SEMITONES = 4
"""The next note of a voice is at most this many semitones away."""
LEAST_S, MOST_S = 0.03, 4.0
"""Limits of a time before its logarithm."""
LENGTH_SPANS = ((0.5, 5.0), (1.5, 5.0), (1.5, 12.0), (3.0, 24.0))
VELOCITY_SPANS = ((0.3, 12.0), (0.75, 4.0), (1.5, 4.0), (1.5, 12.0), (3.0, 30.0))
"""sd in seconds and in semitones of the neighbourhoods whose mean length or velocity is looked at, without the note itself."""


class Notes(NamedTuple):
    """The k notes struck in a window. time_s: onsets. length_log2, velocity: what is predicted. of_length, of_velocity: float32
    (k, inputs), what it is predicted from; NaN where there is nothing to measure."""

    time_s: NDArray[np.float64]
    length_log2: NDArray[np.float64]
    velocity: NDArray[np.float64]
    of_length: NDArray[np.float32]
    of_velocity: NDArray[np.float32]


class Predictor(NamedTuple):
    """value: predicts a length or a velocity. error: predicts how far off value is, 0 or more. least: the least error to expect."""

    value: HistGradientBoostingRegressor
    error: HistGradientBoostingRegressor
    least: float

    @classmethod
    def fit(cls, inputs: NDArray[np.float32], target: NDArray[np.float64], least: float, seed: int) -> Predictor:
        """Boosted trees for the target, then for how far they are off."""
        value = _trees(seed).fit(inputs, target)
        error = _trees(seed).fit(inputs, np.abs(target - value.predict(inputs)))
        return cls(value, error, least)

    def off(
        self, inputs: NDArray[np.float32], target: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The error of each note, and the same over the error that is expected there."""
        error = target - self.value.predict(inputs)
        return error, error / np.maximum(self.error.predict(inputs), self.least)


class NoteExpectation(NamedTuple):
    """What predicts lengths and velocities."""

    length: Predictor
    velocity: Predictor


def _trees(seed: int) -> HistGradientBoostingRegressor:
    return HistGradientBoostingRegressor(
        max_iter=150, max_leaf_nodes=31, min_samples_leaf=60, l2_regularization=5.0, random_state=seed
    )


def fit(performances: Sequence[Performance], window_s: float, seed: int = 0) -> NoteExpectation:
    """Models of these undegraded windows' notes. Raises NotEnoughRows where no window has notes enough."""
    notes = [n for n in (notes_of(p, window_s) for p in performances) if n.time_s.size]
    if not notes:
        raise NotEnoughRows(f"none of the given rows has {FEWEST_NOTES} notes; the models need rows with notes")
    of_length, of_velocity = (np.concatenate([getattr(n, name) for n in notes]) for name in Notes._fields[3:])
    length_log2, velocity = (np.concatenate([getattr(n, name) for n in notes]) for name in Notes._fields[1:3])
    return NoteExpectation(
        Predictor.fit(of_length, length_log2, 0.05, seed), Predictor.fit(of_velocity, velocity, 0.5, seed)
    )


def note_frames(
    performances: Sequence[Performance], window_s: float, n_bins: int, models: NoteExpectation
) -> NDArray[np.float32]:
    """All channels of each window, float32 (window, n_bins, 2, N_CHANNELS): mean and sd over a bin's notes; of a context its
    measure and that of the window."""
    notes = [notes_of(p, window_s) for p in performances]
    out = np.zeros((len(notes), n_bins, 2, N_CHANNELS), np.float32)
    numbers = [number for number, n in enumerate(notes) if n.time_s.size]
    notes = [notes[number] for number in numbers]
    if not notes:
        return out
    edges = np.cumsum([0, *(n.time_s.size for n in notes)])
    length_error, length = models.length.off(
        np.concatenate([n.of_length for n in notes]), np.concatenate([n.length_log2 for n in notes])
    )
    velocity_error, velocity = models.velocity.off(
        np.concatenate([n.of_velocity for n in notes]), np.concatenate([n.velocity for n in notes])
    )
    values = np.stack([np.abs(length), np.abs(velocity), length, velocity], axis=1)
    errors = np.stack([length_error, velocity_error], axis=1)
    for i, (number, of_window) in enumerate(zip(numbers, notes, strict=True)):
        own = slice(edges[i], edges[i + 1])
        mean, sd = event_stats(values[own], of_window.time_s, n_bins, window_s)
        out[number, :, 0, :4], out[number, :, 1, :4] = mean[:-1], sd[:-1]
        contexts = Contexts(of_window.time_s, n_bins, window_s)
        spread = contexts.log_sd(errors[own], 0.05)
        table = np.concatenate(
            [
                contexts.quantiles(values[own], [(0, 0.25), (0, 0.5), (0, 0.75)]),
                spread[:, :1],
                contexts.quantiles(values[own], [(1, 0.5)]),
                spread[:, 1:],
            ],
            axis=1,
        )
        out[number, :, 0, 4:], out[number, :, 1, 4:] = table[:-1], table[-1]
    return out


def notes_of(performance: Performance, window_s: float) -> Notes:
    """The notes of a window with what predicts them; none where there are fewer than FEWEST_NOTES."""
    p = performance
    onset_s, pitch = p.onset_s, p.pitch.astype(np.float64)
    kept = (onset_s >= 0) & (onset_s < window_s)
    if onset_s.size < FEWEST_NOTES or not kept.any():
        none, no_inputs = np.zeros(0), np.zeros((0, 0), np.float32)
        return Notes(none, none, none, no_inputs, no_inputs)
    velocity = p.velocity.astype(np.float64)
    length = np.log2(np.maximum(p.offset_s - onset_s, 0.02))
    later, higher = onset_s - onset_s[:, None], pitch - pitch[:, None]
    other = ~np.eye(onset_s.size, dtype=bool)
    chord = (np.abs(later) < CHORD_GAP_S) & other
    after, before = later > CHORD_GAP_S, later < -CHORD_GAP_S
    in_voice = np.abs(higher) <= VOICE_SEMITONES
    ahead = np.sort(np.where(after, later, MOST_S), axis=1)
    voice_after, voice_before = (np.where(w & in_voice, np.abs(later), np.inf) for w in (after, before))
    next_s, last_s = ahead[:, 0], np.where(before, -later, MOST_S).min(axis=1)
    next_of_voice_s = voice_after.min(axis=1)
    again_s = np.where((later > 0) & (higher == 0), later, MOST_S).min(axis=1)
    over_next = length - _log(next_s)
    over_voice = length - _log(next_of_voice_s)
    place = [chord.sum(axis=1), (chord & (higher > 0)).sum(axis=1), (chord & (higher < 0)).sum(axis=1)]
    alike = np.exp(
        -0.5 * (later / 1.5) ** 2
        - 0.5 * (higher / 6.0) ** 2
        - 0.5 * ((_log(next_s) - _log(next_s)[:, None]) / 0.5) ** 2
    )
    alike = np.where(other, alike, 0.0)
    of_next, of_last = (
        (np.where(np.isfinite(w.min(axis=1)), w.argmin(axis=1), -1)) for w in (voice_after, voice_before)
    )
    still_held = (before & (p.offset_s > onset_s[:, None])).sum(axis=1)
    of_length = [
        pitch,
        velocity,
        _log(next_s),
        _log(last_s),
        _log(ahead[:, min(3, onset_s.size - 1)]),
        _log(ahead[:, min(6, onset_s.size - 1)]),
        _log(next_of_voice_s),
        _log(voice_before.min(axis=1)),
        _log(again_s),
        *place,
        still_held,
        alike.sum(axis=1),
        _mean_of(chord, length),
        *(_mean_of(alike, x) for x in (length, over_next, over_voice)),
        *(_at(of_next, x) for x in (length, over_voice)),
        *(_at(of_last, x) for x in (length, over_voice)),
        *(_pedal(p, onset_s + s) for s in (0.0, 0.1, 0.5 * next_s, next_s)),
    ]
    of_velocity = [
        pitch,
        length,
        _log(next_s),
        _log(last_s),
        _log(next_of_voice_s),
        _log(again_s),
        *place,
        _mean_of(chord, velocity),
        _mean_of(alike, velocity),
        _mean_of(_same_place(place) * np.where(other, np.exp(-0.5 * (later / 1.5) ** 2), 0.0), velocity),
        _at(of_next, velocity),
        _at(of_last, velocity),
        _pedal(p, onset_s),
    ]
    for spans, inputs, means in (
        (LENGTH_SPANS, of_length, (length, over_next, over_voice)),
        (VELOCITY_SPANS, of_velocity, (velocity,)),
    ):
        for wide_s, wide_pitch in spans:
            near = np.where(other, np.exp(-0.5 * (later / wide_s) ** 2 - 0.5 * (higher / wide_pitch) ** 2), 0.0)
            inputs += [_mean_of(near, x) for x in means]
    tables = [np.stack(columns, axis=1)[kept].astype(np.float32) for columns in (of_length, of_velocity)]
    return Notes(onset_s[kept], length[kept], velocity[kept], tables[0], tables[1])


def _log(time_s: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.log2(np.clip(time_s, LEAST_S, MOST_S)))


def _mean_of(weight: NDArray, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weighted mean of the other notes' values for each note; NaN where none has weight."""
    total = weight.sum(axis=1)
    mean = weight @ values / np.where(total > 1e-6, total, 1.0)
    return np.where(total > 1e-6, mean, np.nan)


def _at(number: NDArray[np.intp], values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(number >= 0, values[number], np.nan)


def _pedal(p: Performance, when_s: NDArray[np.float64]) -> NDArray[np.float64]:
    return pedal_at(p.pedal_s, p.pedal_value, when_s) / 127.0


def _same_place(place: Sequence[NDArray[np.integer]]) -> NDArray[np.bool_]:
    """Which pairs of notes have as many notes of their chord above and below them."""
    return np.all([x == x[:, None] for x in place[1:]], axis=0)
