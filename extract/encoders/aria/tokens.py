"""Aria's tokens, three per note: pitch with velocity, onset, duration.

The same tokens as AbsTokenizer of https://github.com/EleutherAI/aria-utils gives for one piano:

- A sequence is `piano`, `<S>`, the notes, `<E>`. A `<T>` stands for every 5 s that have passed.
- Time begins at the first note, whose onset token is 0.
- Onsets and durations are rounded to milliseconds and then to steps of 10 ms, velocities to steps of 10. Ties (such as
  15 ms) go to the step that the authors' binary search finds first, which equals no rule of rounding (`_nearest`).
- A key released while the pedal is down ends when the pedal is lifted, even if the key is struck again before. Nothing
  else of the pedal is kept.
- Durations are 10 ms to 5 s, velocities 10 to 120.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from keybed.extract.encoders.base import Clip
from keybed.extract.encoders.errors import EncoderError
from keybed.extract.music.performance import SUSTAIN_ON, Performance
from keybed.store.format.recipe import EncoderSpec

VERSION = 1
"""Part of Aria's fingerprint; raised whenever a token may change."""

START, END, PADDING, TIME_BREAK, PIANO = 0, 1, 2, 5, 6
FIRST_NOTE, FIRST_DURATION, FIRST_ONSET = 39, 16_726, 17_227
VOCABULARY_SIZE = 17_727
STEP_MS, BREAK_MS, LONGEST_MS = 10, 5000, 5000
VELOCITY_STEP, LOWEST_VELOCITY, HIGHEST_VELOCITY = 10, 10, 120
AROUND = 3
"""Number of tokens around the notes: the instrument, `<S>` and `<E>`."""


class Tokens(NamedTuple):
    """Tokens of one sequence of n notes.

    ids: int64 (L,). note_at: (n,), index of each note's duration token. onset_s: float64 (n,), each note's onset in the
    window, which the tokens do not hold.
    """

    ids: NDArray[np.int64]
    note_at: NDArray[np.intp]
    onset_s: NDArray[np.float64]


def of_clip(spec: EncoderSpec, clip: Clip) -> list[Tokens]:
    """The tokens of a clip, one sequence for each slice of at most `max_notes` notes."""
    notes = cut(clip.performance, spec.preprocessing["window_s"])
    return [tokenize(part) for part in slices(notes, spec.preprocessing["max_notes"])]


def cut(performance: Performance, window_s: float) -> Performance:
    """The notes that begin within [0, window_s), with keys and pedal released at the window's end.

    Keys held from before are left out, because time would begin with them. A pedal held from before is down at 0.
    """
    within = (performance.onset_s >= 0) & (performance.onset_s < window_s)
    n_before, n_until = np.searchsorted(performance.pedal_s, [0.0, window_s])
    n_first = max(n_before - 1, 0)
    return Performance(
        performance.onset_s[within],
        np.minimum(performance.offset_s[within], window_s),
        performance.pitch[within],
        performance.velocity[within],
        # The last event before the window is moved to 0; no note of the window is released before.
        np.append(np.maximum(performance.pedal_s[n_first:n_until], 0.0), window_s),
        np.append(performance.pedal_value[n_first:n_until], np.int16(0)),
    )


def slices(performance: Performance, max_notes: int) -> list[Performance]:
    """Consecutive slices of at most max_notes notes, each with the whole pedal; an empty list where there is no note."""
    return [
        Performance(
            performance.onset_s[start : start + max_notes],
            performance.offset_s[start : start + max_notes],
            performance.pitch[start : start + max_notes],
            performance.velocity[start : start + max_notes],
            performance.pedal_s,
            performance.pedal_value,
        )
        for start in range(0, performance.n_notes, max_notes)
    ]


def tokenize(performance: Performance) -> Tokens:
    """Tokens of a performance of any length; none where it has no note.

    Notes are in the order of onset, key release and pitch. Raises EncoderError for a pitch or velocity outside MIDI's range.
    """
    order = np.lexsort((performance.pitch, performance.offset_s, performance.onset_s))
    onset_s, offset_s = performance.onset_s[order], performance.offset_s[order]
    if onset_s.size == 0:
        return Tokens(np.zeros(0, np.int64), np.zeros(0, np.intp), onset_s)
    down_s, up_s = pedal_spans(performance.pedal_s, performance.pedal_value >= SUSTAIN_ON, float(offset_s[-1]))
    end_s = sustained(offset_s, down_s, up_s)
    ids, note_at = encode(
        _milliseconds(onset_s - onset_s[0]),
        _milliseconds(end_s - onset_s),
        performance.pitch[order],
        performance.velocity[order],
    )
    return Tokens(ids, note_at, onset_s)


def encode(
    onset_ms: NDArray[np.int64], duration_ms: NDArray[np.int64], pitch: NDArray[Any], velocity: NDArray[Any]
) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
    """Token ids of one or more notes, and the index of each note's duration token.

    onset_ms: since the first note, ascending. Raises EncoderError for a pitch or velocity outside MIDI's range.
    """
    for name, values, lowest in (("pitch", pitch, 0), ("velocity", velocity, 1)):
        outside = (values < lowest) | (values > 127)
        if outside.any():
            raise EncoderError(
                f"aria: a note has {name} {values[outside][0]}, outside the range of MIDI and of Aria's tokens, {lowest} to 127"
            )
    n_breaks = onset_ms // BREAK_MS
    note_at = 4 + 3 * np.arange(onset_ms.size) + n_breaks
    ids = np.full(AROUND + 3 * onset_ms.size + n_breaks[-1], TIME_BREAK, np.int64)
    ids[0], ids[1], ids[-1] = PIANO, START, END
    n_velocities = HIGHEST_VELOCITY // VELOCITY_STEP + 1
    step = np.maximum(_nearest(n_velocities, VELOCITY_STEP, 128)[velocity], LOWEST_VELOCITY // VELOCITY_STEP)
    ids[note_at - 2] = FIRST_NOTE + pitch.astype(np.int64) * n_velocities + step
    ids[note_at - 1] = FIRST_ONSET + _nearest(BREAK_MS // STEP_MS, STEP_MS, BREAK_MS)[onset_ms % BREAK_MS]
    duration_ms = np.clip(duration_ms, STEP_MS, LONGEST_MS)
    ids[note_at] = FIRST_DURATION + _nearest(LONGEST_MS // STEP_MS + 1, STEP_MS, LONGEST_MS + 1)[duration_ms]
    return ids, note_at


def pedal_spans(
    time: NDArray[Any], is_down: NDArray[np.bool_], never_lifted: float
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Begin and end of each span with the pedal down. Repeated downs or ups change nothing.

    never_lifted: the end of a last span without a lift.
    """
    changes = np.flatnonzero(np.diff(is_down, prepend=False))
    down, up = time[changes[::2]], time[changes[1::2]]
    return down, up if up.size == down.size else np.append(up, never_lifted)


def sustained(release: NDArray[Any], down: NDArray[Any], up: NDArray[Any]) -> NDArray[Any]:
    """Releases with those strictly inside a pedal span moved to its end."""
    if down.size == 0:
        return release
    span = np.searchsorted(down, release) - 1
    end = up[np.maximum(span, 0)]
    return np.where((span >= 0) & (release < end), end, release)


def _milliseconds(seconds: NDArray[np.float64]) -> NDArray[np.int64]:
    # Rounded to a nanosecond first, because differences of times are slightly off exact halves of a millisecond.
    return np.rint(np.round(1000 * seconds, 6)).astype(np.int64)


@cache
def _nearest(n_steps: int, step: int, n_values: int) -> NDArray[np.int64]:
    """For each value 0 … n_values − 1, the index of the nearest step (0, step, 2 step …).

    Of two equally near steps, the one that a binary search over the steps compares first, as in the authors' code.
    """
    nearest = np.zeros(n_values, np.int64)
    for value in range(n_values):
        low, high, best = 0, n_steps - 1, 0
        while low <= high:
            middle = (low + high) // 2
            if abs(middle * step - value) < abs(best * step - value):
                best = middle
            if middle * step < value:
                low = middle + 1
            elif middle * step > value:
                high = middle - 1
            else:
                break
        nearest[value] = best
    return nearest
