"""Measures of the `expressive` baseline that uneven note lengths change: roughness, residuals and overlaps by voice.

Roughness and residual are computed a second time for the notes released while the pedal is up (`AUDIBLE_…`), whose release is
heard. docs/expressive.md gives unit, meaning and weakness of each channel.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from keybed.extract.encoders.baselines.contexts import Contexts
from keybed.extract.encoders.baselines.events import Events, changes, side_by_side
from keybed.extract.encoders.baselines.nearness import followers
from keybed.extract.music.chords import CHORD_GAP_S
from keybed.extract.music.pedal import pedal_at
from keybed.extract.music.performance import SUSTAIN_ON, Performance

LENGTH_CHANNELS = (
    "length_roughness_log2",
    "length_roughness_2_log2",
    "length_roughness_by_pitch_log2",
    "length_residual_log2",
    "length_from_alike_log2",
)
VOICE_CHANNELS = ("voice_ratio_log2", "voice_ratio_abs_log2", "voice_overlap_s", "voice_legato")
AUDIBLE_CHANNELS = ("audible_length_roughness_log2", "audible_length_residual_log2")
LENGTH_CONTEXTS = (
    "length_roughness_p25",
    "length_roughness_p50",
    "length_residual_p50",
    "length_from_alike_p25",
    "length_from_alike_p50",
    "length_residual_log_sd",
)
VOICE_CONTEXTS = ("voice_ratio_abs_p25", "voice_ratio_abs_p50", "voice_ratio_log_sd")
AUDIBLE_CONTEXTS = ("audible_length_roughness_p50", "audible_length_residual_log_sd")
LEGATO_S = 0.04
"""sd in seconds of the Gaussian that `voice_legato` puts on the overlap."""
ALIKE_S, ALIKE_SEMITONES, ALIKE_OCTAVES = 1.5, 5.0, 0.5
"""sd of the Gaussians that say which notes are alike: in time, pitch, and log2 of the time to the voice's next note."""
ALIKE_WEIGHT = 0.3
"""Summed weight of alike notes at which a deviation from them counts half."""
LOG_SD_FLOOR = 0.05
"""Added to a standard deviation, in octaves, before its logarithm."""
RIDGE = 0.3
"""Penalty of the regression of log length, in notes."""
_PENALTY = RIDGE * np.eye(5)
_SHORTEST_S = 0.02


class Lengths(NamedTuple):
    """What articulation is measured on, for n notes within the window in order of onset.

    length, ioi: log2 seconds held, and until the voice's next note (else the next chord, else the length itself).
    follows: whether the voice has a next note. overlap_s: release minus its onset, 0 where there is none.
    audible: released in the window with the pedal up.
    """

    onset_s: NDArray[np.float64]
    pitch: NDArray[np.float64]
    velocity: NDArray[np.float64]
    length: NDArray[np.float64]
    ioi: NDArray[np.float64]
    chord_ioi: NDArray[np.float64]
    follows: NDArray[np.bool_]
    overlap_s: NDArray[np.float64]
    audible: NDArray[np.bool_]

    def where(self, kept: NDArray[np.bool_]) -> Lengths:
        """The notes at which `kept`, bool (n,), is true."""
        return Lengths._make(column[kept] for column in self)


def lengths_of(notes: Performance, window_s: float) -> Lengths:
    """The notes struck and released within the window."""
    on, off = notes.onset_s, notes.offset_s
    held_s = np.maximum(off - on, 1e-3)
    following = followers(notes)
    follows = following >= 0
    next_s = np.where(follows, on[following], np.inf) if on.size else np.zeros(0)
    next_chord = np.append(on, np.inf)[np.searchsorted(on, on + CHORD_GAP_S, side="right")]
    to_chord = np.where(np.isfinite(next_chord), next_chord - on, held_s)
    to_next = np.where(follows, next_s - on, to_chord)
    within = (on >= 0) & (on < window_s) & (off < window_s)
    return Lengths(
        on,
        notes.pitch.astype(np.float64),
        notes.velocity.astype(np.float64),
        np.log2(held_s),
        np.log2(np.maximum(to_next, _SHORTEST_S)),
        np.log2(np.maximum(to_chord, _SHORTEST_S)),
        follows,
        np.where(follows, off - np.where(follows, next_s, 0.0), 0.0),
        pedal_at(notes.pedal_s, notes.pedal_value, off) < SUSTAIN_ON,
    ).where(within)


def length_measures(n: Lengths) -> tuple[Events, NDArray[np.float64]]:
    """LENGTH_CHANNELS at the notes' onsets, and the signed residuals (n,)."""
    residual = _residual(n)
    columns = [_jumps(n.length), _bends(n.length), _jumps_by_pitch(n), np.abs(residual), _from_alike(n)]
    return Events.of(n.onset_s, columns), residual


def voice_measures(n: Lengths) -> Events:
    """VOICE_CHANNELS at the onsets of the notes whose voice has a next note."""
    ratio = np.minimum(np.maximum(n.length - n.ioi, -3), 3)
    overlap = np.minimum(np.maximum(n.overlap_s, -0.5), 0.5)
    legato = np.exp(-0.5 * (n.overlap_s / LEGATO_S) ** 2)
    return Events.of(n.onset_s, [ratio, np.abs(ratio), overlap, legato]).where(n.follows)


def audible_measures(n: Lengths) -> tuple[Events, NDArray[np.float64]]:
    """AUDIBLE_CHANNELS at the notes whose release is heard, and their signed residuals."""
    heard = n.where(n.audible)
    residual = _residual(heard)
    return Events.of(heard.onset_s, [_jumps(heard.length), np.abs(residual)]), residual


def length_contexts(measured: Events, residual: NDArray[np.float64], contexts: Contexts) -> list[NDArray[np.float64]]:
    """LENGTH_CONTEXTS from what `length_measures` returned, tables of n_bins + 1 rows."""
    names = ("length_roughness_log2", "length_residual_log2", "length_from_alike_log2")
    columns = measured.values[:, [LENGTH_CHANNELS.index(name) for name in names]]
    return [
        contexts.quantiles(columns, [(0, 0.25), (0, 0.50), (1, 0.50), (2, 0.25), (2, 0.50)]),
        contexts.log_sd(residual[:, None], LOG_SD_FLOOR),
    ]


def voice_contexts(measured: Events, contexts: Contexts) -> list[NDArray[np.float64]]:
    """VOICE_CONTEXTS from what `voice_measures` returned, tables of n_bins + 1 rows."""
    return [
        contexts.quantiles(measured.values[:, 1:2], [(0, 0.25), (0, 0.50)]),
        contexts.log_sd(measured.values[:, :1], LOG_SD_FLOOR),
    ]


def audible_contexts(measured: Events, residual: NDArray[np.float64], contexts: Contexts) -> list[NDArray[np.float64]]:
    """AUDIBLE_CONTEXTS from what `audible_measures` returned, tables of n_bins + 1 rows."""
    return [contexts.quantiles(measured.values[:, :1], [(0, 0.50)]), contexts.log_sd(residual[:, None], LOG_SD_FLOOR)]


def _jumps(length: NDArray[np.float64]) -> NDArray[np.float64]:
    """Absolute change from the note before; 0 for the first."""
    return np.minimum(np.abs(changes(length)), 4.0)


def _bends(length: NDArray[np.float64]) -> NDArray[np.float64]:
    """Absolute difference from the mean of the two neighbours; 0 for the first and the last."""
    bends = np.zeros(length.size)
    bends[1:-1] = np.abs(np.diff(length, 2)) / 2
    return np.minimum(bends, 4.0)


def _jumps_by_pitch(n: Lengths) -> NDArray[np.float64]:
    """`_jumps` in order of pitch, and of time within a key."""
    order = np.lexsort((n.onset_s, n.pitch))
    jumps = np.zeros(n.length.size)
    jumps[order] = _jumps(n.length[order])
    return jumps


def _residual(n: Lengths) -> NDArray[np.float64]:
    """What a ridge regression on both IOIs, pitch, velocity and time leaves of log2 length; 0 with fewer than 3 notes."""
    if n.length.size < 3:
        return np.zeros(n.length.size)
    causes = side_by_side([n.chord_ioi, n.ioi, n.pitch / 12, n.velocity / 30, n.onset_s / 5])
    x, y = causes - causes.mean(axis=0), n.length - n.length.mean()
    slope = np.linalg.solve(x.T @ x + _PENALTY, x.T @ y)
    return np.asarray(np.minimum(np.maximum(y - x @ slope, -4), 4))


def _from_alike(n: Lengths) -> NDArray[np.float64]:
    """Absolute deviation from the weighted mean log2 length of other notes alike, shrunk to 0 where few are."""
    away = _squared_distance(n.onset_s, ALIKE_S)
    away += _squared_distance(n.pitch, ALIKE_SEMITONES)
    away += _squared_distance(n.ioi, ALIKE_OCTAVES)
    away *= -0.5
    weight = np.exp(away, out=away)
    np.fill_diagonal(weight, 0.0)
    total = weight.sum(axis=1)
    mean = (weight @ n.length + 1e-6 * n.length) / (total + 1e-6)
    return np.asarray(np.minimum(np.abs(n.length - mean), 4.0) * total / (total + ALIKE_WEIGHT))


def _squared_distance(of: NDArray[np.float64], sd: float) -> NDArray[np.float64]:
    """Of each two notes, in units of an sd, float64 (n, n)."""
    away = of[:, None] - of
    away /= sd
    return np.square(away, out=away)
