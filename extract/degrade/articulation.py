"""Articulation: notes get each other's lengths at random, which is audible where the pedal is up at the release."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from keybed.extract.degrade.dither import DITHER_S
from keybed.extract.degrade.dynamics import dealt_out
from keybed.extract.degrade.texture import USUAL_TEXTURE, Texture, drawn_by_note, released_in_time
from keybed.extract.degrade.ticks import TICK_S, on_ticks
from keybed.extract.music.pedal import pedal_at
from keybed.extract.music.performance import SUSTAIN_ON, Performance

NOTE_TO_NOTE_CORRELATION = 0.3
"""Correlation of the log length changes of neighbouring notes (an autoregressive process of order 1)."""
LEAST_VARIETY = 1.2
"""Notes whose log lengths spread by at least this many times the level change places; evener ones are multiplied by factors."""
TIED_S = 0.03
"""A release this close to the onset of another note, in seconds, is tied to it."""
TIED_AGAIN = 0.5
"""A tied release goes to the onset nearest to its new place if that moves it by at most this share of its change."""
_PASSES = 8


def vary_lengths(
    onset_s: NDArray[np.float64],
    offset_s: NDArray[np.float64],
    pitch: NDArray[np.int16],
    log_sd: float,
    counted: NDArray[np.bool_],
    rng: np.random.Generator,
    texture: Texture = USUAL_TEXTURE,
    among: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.float64], float]:
    """Change note lengths at random: the notes `among` (n,; `counted` where None) get each other's lengths.

    Where their lengths are too even for the level, they are multiplied by log-normal factors. A release that followed another
    note's onset follows the onset near its new place by the same lag. A length below the shortest that the recording has itself is
    reflected at it (in log length), each note at another one; a lengthened note ends before its key is struck again, by a key
    return of the recording's own.
    Returns the new offsets (n,) and the realised level: the sd of the log length change over the `counted` notes (n,).
    """
    if log_sd == 0.0 or counted.sum() < 2:
        return offset_s, 0.0
    from scipy.signal import lfilter

    length = offset_s - onset_s
    among = counted if among is None else among
    rho = NOTE_TO_NOTE_CORRELATION
    draw = lfilter([1.0], [1.0, -rho], rng.standard_normal(onset_s.size))
    draw -= draw[counted].mean()
    draw /= draw[counted].std()
    varied = float(np.log(length[counted]).std()) > LEAST_VARIETY * log_sd
    shortest = np.minimum(length, drawn_by_note(texture.shortest_s, onset_s, pitch))
    longest = _longest_duration(onset_s, offset_s, pitch, texture)
    ties = _Ties.of(onset_s, offset_s)
    change, smear = log_sd * draw, DITHER_S * rng.standard_normal(onset_s.size)
    if varied:
        change = _placed(length, draw, log_sd, counted, among, smear)
    scale = 1.0
    for _ in range(_PASSES):
        stretched = length * np.exp(np.clip(scale * change, -3.0, 3.0))
        stretched = np.where(stretched < shortest, shortest**2 / stretched, stretched)
        stretched = np.minimum(ties.tied(stretched, length, shortest), longest)
        new_length = np.maximum(on_ticks(stretched), TICK_S)
        realised = float(np.log(new_length / length)[counted].std())
        if realised <= 0.0 or abs(realised - log_sd) < 1e-3 * log_sd:
            break
        scale *= log_sd / realised
    return onset_s + new_length, realised


def _placed(
    length: NDArray[np.float64],
    draw: NDArray[np.float64],
    log_sd: float,
    counted: NDArray[np.bool_],
    among: NDArray[np.bool_],
    smear_s: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Changes of log length (n,) that give the notes `among` (n,) each other's lengths, in the order of their changed lengths.

    The sd over the counted notes is near log_sd. smear_s (n,) is added, so that no length is another one's exactly.
    """
    own, scale = np.sort(length[among]), log_sd
    best, closest = log_sd * draw, np.inf
    for _ in range(_PASSES):
        result = length * np.exp(np.clip(scale * draw, -3.0, 3.0))
        result[among] = np.abs(dealt_out(own, result[among]) + smear_s[among]) + TICK_S
        change = np.log(result / length)
        realised = float(change[counted].std())
        if abs(realised - log_sd) < closest:
            best, closest = change, abs(realised - log_sd)
        if realised <= 0.0 or closest < 0.02 * log_sd:
            break
        scale *= log_sd / realised
    return best


class _Ties(NamedTuple):
    """Releases that follow an onset: which notes (k,), by how much (k,) seconds, and all onsets."""

    onset_s: NDArray[np.float64]
    note: NDArray[np.int64]
    lag_s: NDArray[np.float64]

    @classmethod
    def of(cls, onset_s: NDArray[np.float64], offset_s: NDArray[np.float64]) -> _Ties:
        lag = offset_s - _nearest(onset_s, offset_s)
        note = np.flatnonzero((np.abs(lag) < TIED_S) & (offset_s - onset_s > 2 * TIED_S))
        return cls(onset_s, note, lag[note])

    def tied(
        self, new_length: NDArray[np.float64], length: NDArray[np.float64], shortest: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """The new lengths (n,), those of tied releases moved to another onset where one is near."""
        on, new = self.onset_s[self.note], new_length[self.note]
        again = _nearest(self.onset_s, on + new - self.lag_s) + self.lag_s - on
        near = np.abs(again - new) <= TIED_AGAIN * np.abs(new - length[self.note])
        result = new_length.copy()
        result[self.note] = np.where(near & (again > shortest[self.note]), again, new)
        return result


def _nearest(onset_s: NDArray[np.float64], times_s: NDArray[np.float64]) -> NDArray[np.float64]:
    at = np.searchsorted(onset_s, times_s)
    before, after = onset_s[np.maximum(at - 1, 0)], onset_s[np.minimum(at, onset_s.size - 1)]
    return np.where(np.abs(times_s - before) < np.abs(times_s - after), before, after)


def _longest_duration(
    onset_s: NDArray[np.float64], offset_s: NDArray[np.float64], pitch: NDArray[np.int16], texture: Texture
) -> NDArray[np.float64]:
    """How long each note may last before its key is struck again; never less than its present length."""
    end_s = released_in_time(onset_s, np.full(onset_s.size, np.inf), pitch, texture)
    return np.asarray(np.maximum(end_s, offset_s) - onset_s)


def audible_releases(p: Performance, window_s: float) -> NDArray[np.bool_]:
    """Mask (n,) of the notes struck and released inside [0, window_s) with the pedal up at the release."""
    inside = (p.onset_s >= 0) & (p.onset_s < window_s) & (p.offset_s < window_s)
    return np.asarray(inside & (pedal_at(p.pedal_s, p.pedal_value, p.offset_s) < SUSTAIN_ON))
