"""One window cut out of a recording, in its own time, with what sounds into it and what the axes need to know of it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from keybed.extract.degrade.labels import valid_dimensions
from keybed.extract.degrade.pedal import value_at
from keybed.extract.music.beats import CONTEXT_S, Beats, track_beats
from keybed.extract.music.difficulty import covariates
from keybed.extract.music.loudness_trend import loudness_trend
from keybed.extract.music.performance import HIGHEST_PITCH, SUSTAIN_ON, Performance

PRE_ROLL_S = 2.0
"""Sound before the window that rings into it; older notes that still sound are struck at its start."""
PEDAL_AFTER_S = 2.0
"""Pedal events this far beyond the window are kept, so that a change at its end is whole."""


@dataclass(frozen=True, eq=False)
class Excerpt:
    """A segment before degradation: the same for its four variants."""

    performance: Performance
    trend: NDArray[np.float64]
    beats: Beats
    valid: NDArray[np.bool_]
    difficulty: NDArray[np.float32]
    n_notes: int


@dataclass(frozen=True, eq=False)
class PreparedRecording:
    """A recording made ready for any number of windows. Keeps the last windows cut, for variants come in fours."""

    performance: Performance
    trend: NDArray[np.float64]
    key_up_s: NDArray[np.float64]
    """When each note stops sounding: its release, or the pedal's next lift."""
    _cut: dict[tuple[float, float], Excerpt] = field(default_factory=dict, repr=False)

    def excerpt(self, start_s: float, window_s: float) -> Excerpt:
        """The window that begins at start_s."""
        key = (start_s, window_s)
        if key not in self._cut:
            while len(self._cut) >= 4:
                self._cut.pop(next(iter(self._cut)))
            self._cut[key] = _cut_out(self, start_s, window_s)
        return self._cut[key]


def prepare(performance: Performance) -> PreparedRecording:
    """The recording-wide part of the work: loudness trend and the times at which notes fall silent. Milliseconds."""
    p = performance
    up = np.concatenate([p.pedal_s[p.pedal_value < SUSTAIN_ON], [np.inf]])
    held = value_at(p.pedal_s, p.pedal_value, p.offset_s) >= SUSTAIN_ON
    lifted = up[np.searchsorted(up, p.offset_s, side="right").clip(max=up.size - 1)]
    return PreparedRecording(p, loudness_trend(p.onset_s, p.velocity), np.where(held, lifted, p.offset_s))


def _cut_out(prepared: PreparedRecording, start_s: float, window_s: float) -> Excerpt:
    p = prepared.performance
    begin, end = np.searchsorted(p.onset_s, [start_s - CONTEXT_S, start_s + window_s + CONTEXT_S])
    beats = track_beats(p.onset_s[begin:end] - start_s, p.velocity[begin:end], window_s)
    heard = (p.onset_s < start_s + window_s) & (prepared.key_up_s > start_s - PRE_ROLL_S)
    from_s = start_s - PRE_ROLL_S
    heard &= _last_of_their_key(p, from_s)
    pedal = (p.pedal_s > from_s) & (p.pedal_s < start_s + window_s + PEDAL_AFTER_S)
    in_force = value_at(p.pedal_s, p.pedal_value, np.array([from_s]))
    cut = Performance(
        onset_s=p.onset_s[heard] - start_s,
        offset_s=p.offset_s[heard] - start_s,
        pitch=p.pitch[heard],
        velocity=p.velocity[heard],
        pedal_s=np.concatenate([[-PRE_ROLL_S], p.pedal_s[pedal] - start_s]),
        pedal_value=np.concatenate([in_force, p.pedal_value[pedal]]),
    )
    trend = prepared.trend[heard]
    inside = (cut.onset_s >= 0) & (cut.onset_s < window_s)
    return Excerpt(
        performance=cut,
        trend=trend,
        beats=beats,
        valid=valid_dimensions(cut, trend, tempo_sure=beats.sure, window_s=window_s),
        difficulty=covariates(cut, beats, window_s),
        n_notes=int(inside.sum()),
    )


def _last_of_their_key(p: Performance, from_s: float) -> NDArray[np.bool_]:
    """All notes from `from_s` on, and of those struck before it each key's last: a key sounds once."""
    old = int(np.searchsorted(p.onset_s, from_s))
    last = np.ones(p.n_notes, bool)
    last[:old] = False
    newest = np.full(HIGHEST_PITCH + 1, -1)
    newest[p.pitch[:old]] = np.arange(old)
    last[newest[newest >= 0]] = True
    return last
