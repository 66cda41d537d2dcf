"""One window cut out of a recording, in window time and dithered, with what the degradation axes need."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from keybed.extract.degrade.dither import dithered
from keybed.extract.degrade.dynamics import Stretches
from keybed.extract.degrade.labels import valid_dimensions
from keybed.extract.degrade.row_key import RowKey
from keybed.extract.degrade.texture import Texture, texture_of
from keybed.extract.music.beats import CONTEXT_S, Beats, track_beats
from keybed.extract.music.difficulty import covariates
from keybed.extract.music.loudness_trend import loudness_trend
from keybed.extract.music.pedal import pedal_at
from keybed.extract.music.performance import HIGHEST_PITCH, SUSTAIN_ON, Performance

PRE_ROLL_S = 2.0
"""Seconds rendered before the window, so that sound rings into it; older notes that still sound start with it."""
PEDAL_AFTER_S = 2.0
"""Pedal events up to this many seconds after the window are kept, so that a change at its end is complete."""


@dataclass(frozen=True, eq=False)
class Excerpt:
    """A segment before degradation; its four variants share it.

    trend: float64 (n,), the loudness trend at each note. valid: bool (8,), the dimensions that this window can show.
    difficulty: float32 (6,). n_notes: onsets inside the window.
    """

    performance: Performance
    trend: NDArray[np.float64]
    beats: Beats
    valid: NDArray[np.bool_]
    difficulty: NDArray[np.float32]
    n_notes: int


@dataclass(frozen=True, eq=False)
class PreparedRecording:
    """A recording from which windows are cut. Keeps the last four windows, because each gives four variants."""

    performance: Performance
    trend: NDArray[np.float64]
    deviation: NDArray[np.float64]
    """Velocity less the trend (n,): accents, voicing and unevenness."""
    silent_s: NDArray[np.float64]
    """When each note (n,) stops sounding: its release, or the next pedal lift after it."""
    texture: Texture
    stretches: Stretches
    _cut: dict[tuple[float, float, int], Excerpt] = field(default_factory=dict, repr=False)

    def excerpt(self, start_s: float, window_s: float, segment: RowKey) -> Excerpt:
        """The window [start_s, start_s + window_s). segment: key of the dither that its variants share (tier −1)."""
        key = (start_s, window_s, segment.number("dither"))
        if key not in self._cut:
            while len(self._cut) >= 4:
                self._cut.pop(next(iter(self._cut)))
            self._cut[key] = _cut_out(self, start_s, window_s, segment.generator("dither"))
        return self._cut[key]


def prepare(performance: Performance) -> PreparedRecording:
    """Compute what depends on the whole recording: the loudness trend and when each note stops sounding."""
    p = performance
    up_s = np.concatenate([p.pedal_s[p.pedal_value < SUSTAIN_ON], [np.inf]])
    held = pedal_at(p.pedal_s, p.pedal_value, p.offset_s) >= SUSTAIN_ON
    lift_s = up_s[np.searchsorted(up_s, p.offset_s, side="right").clip(max=up_s.size - 1)]
    silent_s = np.where(held, lift_s, p.offset_s)
    trend = loudness_trend(p.onset_s, p.velocity)
    return PreparedRecording(p, trend, p.velocity - trend, silent_s, texture_of(p), Stretches(p.velocity))


def _cut_out(prepared: PreparedRecording, start_s: float, window_s: float, rng: np.random.Generator) -> Excerpt:
    p = prepared.performance
    begin, end = np.searchsorted(p.onset_s, [start_s - CONTEXT_S, start_s + window_s + CONTEXT_S])
    beats = track_beats(p.onset_s[begin:end] - start_s, p.velocity[begin:end], window_s)
    from_s = start_s - PRE_ROLL_S
    kept = (p.onset_s < start_s + window_s) & (prepared.silent_s > from_s)
    kept &= _last_of_their_key(p, from_s)
    pedal = (p.pedal_s > from_s) & (p.pedal_s < start_s + window_s + PEDAL_AFTER_S)
    in_force = pedal_at(p.pedal_s, p.pedal_value, np.array([from_s]))
    cut = Performance(
        onset_s=p.onset_s[kept] - start_s,
        offset_s=p.offset_s[kept] - start_s,
        pitch=p.pitch[kept],
        velocity=p.velocity[kept],
        pedal_s=np.concatenate([[-PRE_ROLL_S], p.pedal_s[pedal] - start_s]),
        pedal_value=np.concatenate([in_force, p.pedal_value[pedal]]),
    )
    trend = prepared.trend[kept]
    moved, order = dithered(cut, prepared.texture, rng, window_s=window_s, fixed_pedal=1)
    inside = (cut.onset_s >= 0) & (cut.onset_s < window_s)
    return Excerpt(
        performance=moved,
        trend=trend[order],
        beats=beats,
        valid=valid_dimensions(cut, trend, tempo_sure=beats.sure, window_s=window_s),
        difficulty=covariates(cut, beats, window_s),
        n_notes=int(inside.sum()),
    )


def _last_of_their_key(p: Performance, from_s: float) -> NDArray[np.bool_]:
    """Mask (n,): all notes from `from_s` on, and of earlier ones the last of each key."""
    old = int(np.searchsorted(p.onset_s, from_s))
    last = np.ones(p.n_notes, bool)
    last[:old] = False
    newest = np.full(HIGHEST_PITCH + 1, -1)
    newest[p.pitch[:old]] = np.arange(old)
    last[newest[newest >= 0]] = True
    return last
