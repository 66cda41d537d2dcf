"""Compound-word tokens of MIDIBert: one row [Bar, Position, Pitch, Duration] per note.

The same tokens as the tokenizer of MIDI-BERT (https://github.com/wazenmai/MIDI-BERT,
data_creation/prepare_data/{utils,model}.py) for all input that it accepts, and these rules where it crashes or differs:

- Time is 960 ticks per second (480 per beat at 120 bpm), computed from seconds. The authors read every resolution as if
  it were 480.
- Pitches 21 and 108 are not in the vocabulary (22…107; the authors raise KeyError): they move one octave inwards.
- The grid that onsets snap to stops before the last onset, so the last notes can snap one step early. Kept, for
  equality. Where the last onset is tick 0 the authors' grid is empty and they crash; here it holds tick 0.
- More than 512 notes in one window are cut into consecutive slices of 512, as the authors cut whole pieces.
- Only notes with an onset inside the window are tokens, and their ends are cut at the window's end.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from keybed.extract.encoders.base import Clip
from keybed.extract.music.performance import Performance
from keybed.store.format.recipe import EncoderSpec

VERSION = 1
"""Part of MIDIBert's fingerprint. Raise it whenever a token may change."""

TICKS_PER_S = 960
TICKS_PER_BAR = 1920
GRID_TICKS = 120
DURATION_TICKS = 60
MAX_NOTES = 512
"""Maximum length of a sequence of the model."""

VOCABULARY_SIZES = (4, 18, 88, 66)
BAR_NEW, BAR_CONTINUE = 0, 1
PAD = (2, 16, 86, 64)
LOWEST, HIGHEST = 22, 107


class Tokens(NamedTuple):
    """Tokens of one window. ids: int64 (n, 4). onset_s: float64 (n,), the true onset of each token's note."""

    ids: NDArray[np.int64]
    onset_s: NDArray[np.float64]


def tokenize(performance: Performance, window_s: float) -> Tokens:
    """All tokens of the notes that begin within [0, window_s), in the authors' order (tick, then pitch)."""
    within = (performance.onset_s >= 0) & (performance.onset_s < window_s)
    onset_s = performance.onset_s[within]
    start = np.rint(onset_s * TICKS_PER_S).astype(np.int64)
    end = np.rint(np.minimum(performance.offset_s[within], window_s) * TICKS_PER_S).astype(np.int64)
    pitch = performance.pitch[within].astype(np.int64)
    order = np.lexsort((pitch, start))
    onset_s, start, end, pitch = onset_s[order], start[order], end[order], pitch[order]
    if start.size == 0:
        return Tokens(np.zeros((0, 4), np.int64), onset_s)

    length = end - start
    n_grid = max(_ceil_div(int(start[-1]), GRID_TICKS), 1)
    snapped = np.clip(_nearest_low(start, GRID_TICKS), 0, n_grid - 1) * GRID_TICKS
    bar = snapped // TICKS_PER_BAR
    new = np.diff(bar, prepend=-1) != 0
    ids = np.stack(
        [
            np.where(new, BAR_NEW, BAR_CONTINUE),
            snapped % TICKS_PER_BAR // GRID_TICKS,
            np.where(pitch < LOWEST, pitch + 12, np.where(pitch > HIGHEST, pitch - 12, pitch)) - LOWEST,
            np.clip(_nearest_low(length, DURATION_TICKS) - 1, 0, 63),
        ],
        axis=1,
    )
    return Tokens(ids.astype(np.int64), onset_s)


def of_clip(spec: EncoderSpec, clip: Clip) -> Tokens:
    """The tokens of a clip."""
    return tokenize(clip.performance, clip.window_s)


def slices(n_notes: int) -> list[slice]:
    """Consecutive slices of at most 512 notes."""
    return [slice(start, min(start + MAX_NOTES, n_notes)) for start in range(0, n_notes, MAX_NOTES)]


def _nearest_low(ticks: NDArray[np.int64], step: int) -> NDArray[np.int64]:
    """Index of the nearest multiple of step, the lower one of two equally near (numpy.argmin's choice)."""
    return -((-2 * ticks + step) // (2 * step))


def _ceil_div(a: int, b: int) -> int:
    return -(-a // b)
