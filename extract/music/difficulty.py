"""Difficulty covariates of an undegraded segment: the control for "quality, not difficulty"."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from keybed.extract.music.beats import Beats
from keybed.extract.music.chords import HAND_CHORD_GAP_S, chord_numbers, chord_starts
from keybed.extract.music.performance import Performance
from keybed.store.format.vocabulary import COVARIATES

ONE_HAND_SEMITONES = 12
"""Chords up to this many semitones wide are taken as played by one hand."""
FEWEST_BEATS = 4
"""tempo_variability uses beats where at least this many are found, else onset intervals."""


def covariates(p: Performance, beats: Beats, window_s: float) -> NDArray[np.float32]:
    """The six COVARIATES of `keybed.store.format.vocabulary`, float32 (6,), of the notes struck in [0, window_s).

    note_rate_hz: onsets per second. polyphony: mean number of keys down while any key is down.
    pitch_range_semitones: highest minus lowest pitch. hand_span_semitones: 90th percentile over chords of the wider
    hand; chords wider than an octave are split at their widest gap. tempo_variability: sd of the log beat interval, or
    of the log onset interval where too few beats are found. velocity_range: 95th minus 5th percentile.
    NaN without notes.
    """
    inside = (p.onset_s >= 0) & (p.onset_s < window_s)
    if not inside.any():
        return np.full(len(COVARIATES), np.nan, np.float32)
    pitch = p.pitch[inside].astype(np.int64)
    low, high = np.percentile(p.velocity[inside], [5, 95])
    values = {
        "note_rate_hz": inside.sum() / window_s,
        "polyphony": _polyphony(np.clip(p.onset_s, 0, window_s), np.clip(p.offset_s, 0, window_s)),
        "pitch_range_semitones": pitch.max() - pitch.min(),
        "hand_span_semitones": _hand_span(p.onset_s[inside], pitch),
        "tempo_variability": _tempo_variability(p.onset_s[inside], beats, window_s),
        "velocity_range": high - low,
    }
    return np.array([values[name] for name in COVARIATES], np.float32)


def _polyphony(on: NDArray[np.float64], off: NDArray[np.float64]) -> float:
    held = off > on
    time_s = np.concatenate([on[held], off[held]])
    step = np.concatenate([np.ones(held.sum()), -np.ones(held.sum())])
    order = np.lexsort((-step, time_s))
    keys_down = np.cumsum(step[order])[:-1]
    span = np.diff(time_s[order])
    sounding = float(span[keys_down > 0].sum())
    return float((keys_down * span).sum()) / sounding if sounding > 0 else 0.0


def _hand_span(onset_s: NDArray[np.float64], pitch: NDArray[np.int64]) -> float:
    starts = chord_starts(onset_s, max_gap_s=HAND_CHORD_GAP_S)
    keys = pitch[np.lexsort((pitch, chord_numbers(starts)))]
    first = np.flatnonzero(starts)
    last = np.append(first[1:], pitch.size) - 1
    spans = keys[last] - keys[first]
    for wide in np.flatnonzero(spans > ONE_HAND_SEMITONES):
        chord = keys[first[wide] : last[wide] + 1]
        gap = int(np.argmax(np.diff(chord)))
        spans[wide] = max(chord[gap] - chord[0], chord[-1] - chord[gap + 1])
    return float(np.percentile(spans, 90))


def _tempo_variability(onset_s: NDArray[np.float64], beats: Beats, window_s: float) -> float:
    within = beats.beat_s[(beats.beat_s >= 0) & (beats.beat_s < window_s)]
    if within.size >= FEWEST_BEATS:
        return float(np.log(np.diff(within)).std())
    interval = np.diff(onset_s)[chord_starts(onset_s, max_gap_s=HAND_CHORD_GAP_S)[1:]]
    return float(np.log(interval).std()) if interval.size > 1 else 0.0
