"""How expected a note's length and velocity are, given the notes around it: small networks that were fitted to undegraded playing.

For every note one network predicts its log2 length, or its velocity, and one the size of the error of that prediction. A note is
as unexpected as its error is large, in units of the error that is expected there. Channels per note:

length_unexpected, velocity_unexpected
    The absolute error over the error that is expected there.
length_off, velocity_off
    The same with its sign: above 0 where the note is longer, or louder, than expected.

Contexts as those of `expressive`:

length_unexpected_p25, _p50, _p75, velocity_unexpected_p50
    Quantiles of the first two.
length_error_log_sd, velocity_error_log_sd
    log2 of the standard deviation of the errors themselves, in octaves and in velocity.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from keybed.extract.encoders.baselines.contexts import Contexts
from keybed.extract.encoders.baselines.events import Events, side_by_side
from keybed.extract.encoders.expected.network import Floats, Network
from keybed.extract.music.chords import CHORD_GAP_S
from keybed.extract.music.pedal import pedal_at
from keybed.extract.music.performance import Performance

CHANNELS = ("length_unexpected", "velocity_unexpected", "length_off", "velocity_off")
CONTEXTS = (
    "length_unexpected_p25",
    "length_unexpected_p50",
    "length_unexpected_p75",
    "length_error_log_sd",
    "velocity_unexpected_p50",
    "velocity_error_log_sd",
)
FEWEST_NOTES = 4
"""A window with fewer notes, those of the 2 s before it included, has 0 in every channel."""
VOICE_SEMITONES = 4
"""The next note of a voice is at most this many semitones away."""
LEAST_S, MOST_S = 0.03, 4.0
"""Limits of a time before its logarithm."""
SHORTEST_S, SD_FLOOR = 0.02, 0.05
"""Least length of a note before its logarithm; what is added to a standard deviation before its own."""
LENGTH_SPANS = ((0.5, 5.0), (1.5, 5.0), (1.5, 12.0), (3.0, 24.0))
VELOCITY_SPANS = ((0.3, 12.0), (0.75, 4.0), (1.5, 4.0), (1.5, 12.0), (3.0, 30.0))
"""sd in seconds and in semitones of the neighbourhoods whose mean length or velocity is looked at, without the note itself."""
ALIKE_S, ALIKE_SEMITONES, ALIKE_OCTAVES = 1.5, 6.0, 0.5
"""sd, in time, in pitch and in log2 of the time to the next onset, of the neighbourhood of notes in the same place."""
LENGTH_INPUTS, VELOCITY_INPUTS = 26 + 3 * len(LENGTH_SPANS), 15 + len(VELOCITY_SPANS)
FARTHEST = 5.0
"""Inputs further than this many standard deviations from their mean count as this far."""


class Notes(NamedTuple):
    """The k notes struck in a window. time_s: onsets. length_log2, velocity: what is predicted. of_length, of_velocity: float32
    (k, inputs), what it is predicted from; NaN where there is nothing to measure."""

    time_s: NDArray[np.float64]
    length_log2: NDArray[np.float64]
    velocity: NDArray[np.float64]
    of_length: Floats
    of_velocity: Floats


class Predictor(NamedTuple):
    """value: predicts a length or a velocity. error: predicts how far off value is, 0 or more. least: the least error to expect.

    centre, scale: mean and sd of each input, float32 (inputs,). The networks read the scaled inputs, then 1 for each input that
    is NaN.
    """

    centre: Floats
    scale: Floats
    value: Network
    error: Network
    least: float

    def scaled(self, inputs: Floats) -> Floats:
        """What the networks read, float32 (notes, 2 × inputs)."""
        absent = np.isnan(inputs)
        scaled = np.clip((inputs - self.centre) / self.scale, -FARTHEST, FARTHEST)
        return np.concatenate([np.where(absent, np.float32(0), scaled), absent], axis=1, dtype=np.float32)

    def off(self, inputs: Floats, target: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The error of each note, and the same over the error that is expected there."""
        scaled = self.scaled(inputs)
        error = target - self.value(scaled)
        return error, error / np.maximum(self.error(scaled).astype(np.float64), self.least)

    def arrays(self, prefix: str) -> dict[str, Floats]:
        """Its arrays under names that begin with prefix."""
        own = {"centre": self.centre, "scale": self.scale, "least": np.array([self.least], np.float32)}
        named = {f"{prefix}/{name}": array for name, array in own.items()}
        return named | self.value.arrays(f"{prefix}/value") | self.error.arrays(f"{prefix}/error")

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, NDArray], prefix: str) -> Predictor:
        """Inverse of `arrays`. Raises KeyError for a missing array, ValueError for one that does not fit."""
        centre, scale, least = (np.asarray(arrays[f"{prefix}/{n}"], np.float32) for n in ("centre", "scale", "least"))
        value, error = (Network.of_arrays(arrays, f"{prefix}/{name}") for name in ("value", "error"))
        if not (centre.shape == scale.shape and value.n_inputs == error.n_inputs == 2 * centre.size):
            raise ValueError(f"{prefix}: {centre.size} inputs, and networks that read {value.n_inputs}")
        if not (np.isfinite(centre).all() and np.isfinite(scale).all() and (scale > 0).all() and (least > 0).all()):
            raise ValueError(f"{prefix}: a scale that is not above 0")
        return cls(centre, scale, value, error, float(least[0]))


class NoteModel(NamedTuple):
    """What predicts lengths and velocities."""

    length: Predictor
    velocity: Predictor


def note_surprise(notes: Notes, model: NoteModel) -> tuple[Events, NDArray[np.float64]]:
    """The CHANNELS of each note, and the errors of length and velocity, float64 (k, 2)."""
    if not notes.time_s.size:
        return Events(notes.time_s, np.zeros((0, len(CHANNELS)))), np.zeros((0, 2))
    length_error, length = model.length.off(notes.of_length, notes.length_log2)
    velocity_error, velocity = model.velocity.off(notes.of_velocity, notes.velocity)
    events = Events.of(notes.time_s, [np.abs(length), np.abs(velocity), length, velocity])
    return events, np.stack([length_error, velocity_error], axis=1)


def surprise_contexts(events: Events, errors: NDArray[np.float64], n_bins: int, window_s: float) -> NDArray[np.float64]:
    """The CONTEXTS around each bin and in the whole window, (n_bins + 1, 6), from `note_surprise`."""
    contexts = Contexts(events.time_s, n_bins, window_s)
    of_length, of_velocity = np.split(contexts.log_sd(errors, SD_FLOOR), 2, axis=1)
    quantiles = contexts.quantiles(events.values, [(0, 0.25), (0, 0.5), (0, 0.75), (1, 0.5)])
    return np.concatenate([quantiles[:, :3], of_length, quantiles[:, 3:], of_velocity], axis=1)


def notes_of(performance: Performance, window_s: float) -> Notes:
    """The notes of a window with what predicts them; none where there are fewer than FEWEST_NOTES."""
    p = performance
    onset_s, pitch = p.onset_s, p.pitch.astype(np.float64)
    kept = np.flatnonzero((onset_s >= 0) & (onset_s < window_s))
    if onset_s.size < FEWEST_NOTES or not kept.size:
        none = np.zeros(0)
        return Notes(
            none, none, none, np.zeros((0, LENGTH_INPUTS), np.float32), np.zeros((0, VELOCITY_INPUTS), np.float32)
        )
    velocity = p.velocity.astype(np.float64)
    length = np.log2(np.maximum(p.offset_s - onset_s, SHORTEST_S))
    later, higher = onset_s - onset_s[:, None], pitch - pitch[:, None]
    chord = np.abs(later) < CHORD_GAP_S
    np.fill_diagonal(chord, False)
    place = [chord.sum(axis=1), (chord & (higher > 0)).sum(axis=1), (chord & (higher < 0)).sum(axis=1)]
    next_of_voice_s, of_next = _nearest(later, np.abs(higher) <= VOICE_SEMITONES)
    last_of_voice_s, of_last = _nearest(-later, np.abs(higher) <= VOICE_SEMITONES)
    again_s = np.where((later > 0) & (higher == 0), later, MOST_S).min(axis=1)
    first_after = np.searchsorted(onset_s, onset_s + CHORD_GAP_S, side="right")
    ahead_s = [_later(onset_s, first_after + more) for more in (0, 3, 6)]
    last_s = onset_s - np.append(-np.inf, onset_s)[np.searchsorted(onset_s, onset_s - CHORD_GAP_S)]
    next_log2 = _log(ahead_s[0])
    over_next, over_voice = length - next_log2, length - _log(next_of_voice_s)
    still_held = ((later < -CHORD_GAP_S) & (p.offset_s > onset_s[:, None])).sum(axis=1)

    near = _Nearness(onset_s, pitch, kept)
    lengths, velocities = np.stack([length, over_next, over_voice], axis=1), velocity[:, None]
    ahead_alike = np.exp(-0.5 * ((next_log2 - next_log2[kept, None]) / ALIKE_OCTAVES) ** 2, dtype=np.float32)
    alike = near.weights(ALIKE_S, ALIKE_SEMITONES) * ahead_alike
    in_chord = chord[kept].astype(np.float32)
    same_place = near.weights(ALIKE_S) * np.all([x == x[kept, None] for x in place[1:]], axis=0)
    around = [
        *(x[kept] for x in (_log(ahead_s[0]), _log(last_s), _log(next_of_voice_s), _log(again_s))),
        *(x[kept] for x in place),
    ]
    of_length = [
        pitch[kept],
        velocity[kept],
        *around,
        *(_log(ahead)[kept] for ahead in ahead_s[1:]),
        _log(last_of_voice_s)[kept],
        still_held[kept],
        alike.sum(axis=1),
        *_means(in_chord, length[:, None]),
        *_means(alike, lengths),
        *(_at(number[kept], x) for number in (of_next, of_last) for x in (length, over_voice)),
        *(_pedal(p, onset_s[kept] + s) for s in (0.0, 0.1, 0.5 * ahead_s[0][kept], ahead_s[0][kept])),
        *(mean for span in LENGTH_SPANS for mean in _means(near.weights(*span), lengths)),
    ]
    of_velocity = [
        pitch[kept],
        length[kept],
        *around,
        *_means(in_chord, velocities),
        *_means(alike, velocities),
        *_means(same_place, velocities),
        *(_at(number[kept], velocity) for number in (of_next, of_last)),
        _pedal(p, onset_s[kept]),
        *(mean for span in VELOCITY_SPANS for mean in _means(near.weights(*span), velocities)),
    ]
    tables = [side_by_side(columns).astype(np.float32) for columns in (of_length, of_velocity)]
    return Notes(onset_s[kept], length[kept], velocity[kept], tables[0], tables[1])


class _Nearness:
    """Weights of all n notes for each of k of them: Gaussians of time and of pitch; 0 for the note itself."""

    def __init__(self, onset_s: NDArray[np.float64], pitch: NDArray[np.float64], kept: NDArray[np.intp]) -> None:
        self._later2 = ((onset_s - onset_s[kept, None]) ** 2).astype(np.float32)
        self._later2[np.arange(kept.size), kept] = np.inf
        self._higher2 = ((pitch - pitch[kept, None]) ** 2).astype(np.float32)

    def weights(self, sd_s: float, sd_semitones: float = np.inf) -> Floats:
        """float32 (k, n)."""
        exponent = self._later2 * np.float32(-0.5 / sd_s**2)
        if np.isfinite(sd_semitones):
            exponent += self._higher2 * np.float32(-0.5 / sd_semitones**2)
        return np.asarray(np.exp(exponent, out=exponent))


def _nearest(later: NDArray[np.float64], counted: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Seconds to the nearest later note that counts, and its number; infinity and -1 where there is none."""
    s = np.where(counted & (later > CHORD_GAP_S), later, np.inf)
    number = s.argmin(axis=1)
    nearest_s = s[np.arange(len(s)), number]
    return nearest_s, np.where(np.isfinite(nearest_s), number, -1)


def _later(onset_s: NDArray[np.float64], number: NDArray[np.intp]) -> NDArray[np.float64]:
    """Seconds from each onset to that with a number, at most MOST_S."""
    known = number < onset_s.size
    return np.minimum(np.where(known, onset_s[np.where(known, number, 0)] - onset_s, MOST_S), MOST_S)


def _log(time_s: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.log2(np.clip(time_s, LEAST_S, MOST_S)))


def _means(weight_kxn: NDArray[np.float32], values_nxc: NDArray[np.float64]) -> NDArray[np.float32]:
    """Weighted mean of each column for each note, (c, k); NaN where no note has weight."""
    ones = np.ones((len(values_nxc), 1))
    sums = weight_kxn @ np.concatenate([values_nxc, ones], axis=1, dtype=np.float32)
    total = sums[:, -1:]
    return np.asarray(np.where(total > 1e-6, sums[:, :-1] / np.where(total > 1e-6, total, 1), np.nan).T)


def _at(number: NDArray[np.intp], values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(number >= 0, values[number], np.nan)


def _pedal(p: Performance, when_s: NDArray[np.float64]) -> NDArray[np.float64]:
    return pedal_at(p.pedal_s, p.pedal_value, when_s) / 127.0
