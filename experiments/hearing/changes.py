"""What one axis of degradation changed in a row: a sentence with counts, and the notes to mark on the roll.

Everything is measured on two lists of notes, before and after the axis; nothing is taken from the level that was drawn.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.hearing.matching import FARTHEST_S, Matching, match_notes, match_times
from keybed.extract.degrade.tone import Noise
from keybed.extract.music.pedal import crossings
from keybed.extract.music.performance import Performance
from keybed.store.counted import counted

ONSET_MS = 40.0
"""An onset that moved further than this is counted and marked."""
LENGTH_SHARE = 0.25
"""A note whose length changed by more than this share is counted and marked."""
VELOCITY_STEPS = 8
"""A note whose velocity changed by at least this many steps of 127 is counted and marked."""
PEDAL_S = 0.1
"""A pedal change whose lift or press moved by at least this many seconds is counted as spoiled."""
WRONG_KEY_S = 0.06
"""A note that is missing and one of another key this close to it are one wrong key."""
OCTAVE = 12
TEMPO_FARTHEST_S = 3.0
"""How far a note may move where rubato is flattened."""
PLAIN, CHANGED, LOUDER, SOFTER, WRONG = range(5)
"""Marks of a note on the roll."""
Bar = tuple[float, float, int]
"""A note's place on the roll: onset_s, offset_s, pitch."""


@dataclass(frozen=True, eq=False)
class Change:
    """What one axis did. sentence: in words. marks: index of a note after the change -> mark.

    moved: index of a marked note -> (seconds by which its onset was later before, the same of its offset). missing: (onset_s,
    offset_s, pitch) of notes left out. pedal: whether the pedal differs.
    """

    sentence: str
    marks: dict[int, int]
    moved: dict[int, tuple[float, float]] = field(default_factory=dict)
    missing: tuple[Bar, ...] = ()
    pedal: bool = False

    def placed(self, after: Performance, final: Performance) -> tuple[dict[int, int], tuple[Bar, ...]]:
        """Marks by index in the finished row, which later axes have changed too, and bars where notes would be without this axis."""
        partner = {} if after is final else match_notes(after, final, TEMPO_FARTHEST_S).partner()
        index = {j: j if after is final else partner[j] for j in self.marks if after is final or j in partner}
        bars = [
            (
                float(final.onset_s[k] + self.moved[j][0]),
                float(final.offset_s[k] + self.moved[j][1]),
                int(final.pitch[k]),
            )
            for j, k in index.items()
            if j in self.moved
        ]
        return {k: self.marks[j] for j, k in index.items()}, (*bars, *self.missing)


@dataclass(frozen=True, eq=False)
class Pairs:
    """Notes of the window before and after an axis, matched. shift_s, ratio (of lengths) and steps (of velocity): one per pair."""

    n_notes: int
    matching: Matching
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    shift_s: NDArray[np.float64]
    ratio: NDArray[np.float64]
    steps: NDArray[np.int64]

    @classmethod
    def of(cls, before: Performance, after: Performance, window_s: float, farthest_s: float = FARTHEST_S) -> Pairs:
        """Match two performances; only pairs that began in [0, window_s) before the change are kept."""
        matching = match_notes(before, after, farthest_s)
        inside = (before.onset_s >= 0) & (before.onset_s < window_s)
        kept = inside[matching.first]
        i, j = matching.first[kept], matching.second[kept]
        return cls(
            int(inside.sum()),
            matching,
            i,
            j,
            after.onset_s[j] - before.onset_s[i],
            (after.offset_s[j] - after.onset_s[j]) / (before.offset_s[i] - before.onset_s[i]),
            after.velocity[j].astype(np.int64) - before.velocity[i],
        )


def notes_change(before: Performance, after: Performance, window_s: float) -> Change:
    """Wrong keys, extra notes, second strokes and notes left out."""
    pairs = Pairs.of(before, after, window_s)
    missing = [i for i in pairs.matching.missing.tolist() if 0 <= before.onset_s[i] < window_s]
    added = [j for j in pairs.matching.added.tolist() if 0 <= after.onset_s[j] < window_s]
    wrong = []
    for i in list(missing):
        near = [
            j
            for j in added
            if abs(after.onset_s[j] - before.onset_s[i]) < WRONG_KEY_S
            and abs(int(after.pitch[j]) - int(before.pitch[i])) <= OCTAVE
        ]
        if near:
            nearest = min(near, key=lambda j: abs(int(after.pitch[j]) - int(before.pitch[i])))
            wrong.append(nearest)
            added.remove(nearest)
            missing.remove(i)
    again = [j for j in added if _is_second_stroke(before, after, j)]
    extra = len(added) - len(again)
    kinds = (
        (len(wrong), "wrong key", "wrong keys"),
        (extra, "extra note", "extra notes"),
        (len(again), "note struck twice", "notes struck twice"),
        (len(missing), "note left out", "notes left out"),
    )
    parts = [counted(n, one, many) for n, one, many in kinds if n]
    sentence = f"{', '.join(parts) or 'no wrong note'}, of {counted(pairs.n_notes, 'note')}"
    bars = tuple((float(before.onset_s[i]), float(before.offset_s[i]), int(before.pitch[i])) for i in missing)
    return Change(sentence, dict.fromkeys([*wrong, *added], WRONG), missing=bars)


def _is_second_stroke(before: Performance, after: Performance, added: int) -> bool:
    """Whether an added note is struck on a key that was still down before the change."""
    held = (before.pitch == after.pitch[added]) & (before.onset_s < after.onset_s[added])
    return bool((held & (before.offset_s > after.onset_s[added])).any())


def timing_change(before: Performance, after: Performance, window_s: float) -> Change:
    """How many onsets moved, by how much, and the furthest."""
    pairs = Pairs.of(before, after, window_s)
    spread_ms = 1000 * float(pairs.shift_s.std()) if pairs.shift_s.size else 0.0
    sentence = _onsets_moved(pairs) if spread_ms < 0.5 else f"{_onsets_moved(pairs)}; sd {spread_ms:.0f} ms"
    moved = np.abs(pairs.shift_s) > ONSET_MS / 1000
    return Change(sentence, _marks(pairs, moved), _moved(before, after, pairs, moved))


def _onsets_moved(pairs: Pairs) -> str:
    shift_ms = 1000 * np.abs(pairs.shift_s)
    furthest = float(shift_ms.max(initial=0.0))
    words = f"{_part(shift_ms > ONSET_MS, pairs, 'onset')} moved by more than {ONSET_MS:.0f} ms"
    return words if furthest < 0.5 else f"{words}, the furthest by {furthest:.0f} ms"


def _part(counted_notes: NDArray[np.bool_], pairs: Pairs, noun: str) -> str:
    """`6 of 92 onsets`."""
    return f"{int(counted_notes.sum()) or 'none'} of {counted(pairs.n_notes, noun)}"


def articulation_change(before: Performance, after: Performance, window_s: float) -> Change:
    """How many notes became shorter or longer."""
    pairs = Pairs.of(before, after, window_s)
    shorter, longer = pairs.ratio < 1 / (1 + LENGTH_SHARE), pairs.ratio > 1 + LENGTH_SHARE
    sentence = (
        f"{_part(shorter, pairs, 'note')} shorter and {int(longer.sum()) or 'none'} longer by a factor of "
        f"{1 + LENGTH_SHARE:g} or more"
    )
    changed = shorter | longer
    return Change(sentence, _marks(pairs, changed), _moved(before, after, pairs, changed))


def pedal_change(before: Performance, after: Performance, window_s: float) -> Change:
    """How many of the window's pedal changes (a lift and the press after it) come too early or too late."""
    moved = pedal_displacement(before, after, window_s)
    if moved.size == 0:
        return Change("no pedal change in this window", {})
    n = int((moved >= PEDAL_S - 1e-9).sum())
    words = f"{n or 'none'} of {counted(moved.size, 'pedal change')} spoiled"
    if n:
        words += f": {PEDAL_S:g} s or more too early or too late, at most {moved.max():.1f} s"
    return Change(words, {}, pedal=bool((moved > 0).any()))


def pedal_displacement(before: Performance, after: Performance, window_s: float) -> NDArray[np.float64]:
    """Seconds by which each pedal change (n,) whose lift lies in the window has moved: its lift or its press, the further one.

    A change without a partner has moved by FARTHEST_S.
    """
    first, press = crossings(before.pedal_value)
    second, press_after = crossings(after.pedal_value)
    was_s, now_s = before.pedal_s[first], after.pedal_s[second]
    moved = np.full(first.size + 1, FARTHEST_S)
    moved[-1] = 0.0
    for way in (True, False):
        one, other = np.flatnonzero(press == way), np.flatnonzero(press_after == way)
        if one.size == other.size:
            partners = [(k, k) for k in range(one.size)]
        else:
            partners = match_times(was_s[one], now_s[other])
        for i, j in partners:
            moved[one[i]] = abs(now_s[other[j]] - was_s[one[i]])
    lifts = np.flatnonzero(~press & (was_s >= 0) & (was_s < window_s))
    return np.asarray(np.maximum(moved[lifts], moved[lifts + 1]))


def dynamics_change(before: Performance, after: Performance, window_s: float) -> Change:
    """How many notes became louder or softer."""
    pairs = Pairs.of(before, after, window_s)
    return Change(_touched(pairs), _loudness_marks(pairs))


def expression_change(before: Performance, after: Performance, window_s: float) -> Change:
    """How many notes became louder or softer, and how many onsets moved with the tempo."""
    pairs = Pairs.of(before, after, window_s, TEMPO_FARTHEST_S)
    moved = np.abs(pairs.shift_s) > ONSET_MS / 1000
    tempo = "tempo as it was" if float(np.abs(pairs.shift_s).max(initial=0.0)) < 5e-4 else _onsets_moved(pairs)
    marks = _marks(pairs, moved) | _loudness_marks(pairs)
    return Change(f"{_touched(pairs)}; {tempo}", marks, _moved(before, after, pairs, moved))


def _touched(pairs: Pairs) -> str:
    most, n_softer = int(np.abs(pairs.steps).max(initial=0)), int((pairs.steps <= -VELOCITY_STEPS).sum())
    words = (
        f"{_part(pairs.steps >= VELOCITY_STEPS, pairs, 'note')} louder and {n_softer or 'none'} softer by {VELOCITY_STEPS} or "
        "more velocity steps"
    )
    return words if most == 0 else f"{words}, at most {most}"


def tone_change(noise: Noise) -> Change:
    """The noise and the filter over the whole window; nothing in the notes."""
    colours = {0.0: "white", -3.0: "pink", -6.0: "brown"}
    if noise.ratio == 0:
        return Change("no noise added", {})
    colour = colours[noise.slope_db_per_octave]
    words = f"{colour} noise, {-20 * np.log10(noise.ratio):.0f} dB below the music"
    if noise.band_hz is not None:
        low, high = noise.band_hz
        words += f"; filtered to {low:,.0f}–{high:,.0f} Hz"
    return Change(words, {})


def _marks(pairs: Pairs, changed: NDArray[np.bool_]) -> dict[int, int]:
    return dict.fromkeys(pairs.second[changed].tolist(), CHANGED)


def _loudness_marks(pairs: Pairs) -> dict[int, int]:
    louder, softer = pairs.steps >= VELOCITY_STEPS, pairs.steps <= -VELOCITY_STEPS
    return dict.fromkeys(pairs.second[louder].tolist(), LOUDER) | dict.fromkeys(pairs.second[softer].tolist(), SOFTER)


def _moved(
    before: Performance, after: Performance, pairs: Pairs, changed: NDArray[np.bool_]
) -> dict[int, tuple[float, float]]:
    return {
        int(j): (float(before.onset_s[i] - after.onset_s[j]), float(before.offset_s[i] - after.offset_s[j]))
        for i, j in zip(pairs.first[changed], pairs.second[changed], strict=True)
    }
