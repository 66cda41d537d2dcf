"""Wrong notes as pianists play them: substitutions, insertions, grazed neighbour keys, stutters and omissions.

The level is the sum of error weights per note. A substitution weighs 1, an omission and a stutter 0.5, an insertion 0.5
times its velocity over that of the note it was struck with (a graze at half velocity: 0.25). The velocity of the last
graze is chosen so that the sum meets the target even in a window of few notes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from keybed.extract.degrade.articulation import KEY_RETURN_S
from keybed.extract.music.chords import CHORD_GAP_S, chord_numbers, chord_starts
from keybed.extract.music.harmony import clashes, local_key, scale_of
from keybed.extract.music.performance import HIGHEST_PITCH, LOWEST_PITCH, Performance, playable

INSERTION_WEIGHT, SUBSTITUTION_WEIGHT, OMISSION_WEIGHT, STUTTER_WEIGHT = 0.5, 1.0, 0.5, 0.5
"""Weights of the kinds. That of an insertion is multiplied by its velocity over that of the intended note."""
GRAZE_LOUDNESS = (0.1, 0.7)
"""Least and largest velocity of a graze, relative to the intended note."""
ONLY_GRAZES_BELOW = 0.0075
"""Levels up to here consist of grazes only."""
KINDS = ("substitution", "insertion", "graze", "stutter", "omission")
"""Kinds of errors."""
KIND_WEIGHTS = (0.40, 0.22, 0.20, 0.08, 0.10)
"""Probability that each kind is tried; where it exceeds the weight left, an insertion or a graze is made instead."""
CLASHING_SHARE = 0.5
"""At least this share of the summed error weight clashes with the harmony."""
OMITTED_SHARE = 0.2
"""At most this share of the target weight is omissions."""
CLASH_PROBABILITY = 0.6
"""Probability of choosing a clashing key where enough of the weight clashes already."""
SLIPS = (-1, 1, -2, 2, -12, 12, -3, 3, -4, 4)
"""Distances in semitones of a wrong key from the intended key: neighbour keys, next scale steps, octaves."""
SLIP_WEIGHTS = (0.22, 0.22, 0.16, 0.16, 0.05, 0.05, 0.04, 0.04, 0.03, 0.03)
"""Relative probability of each distance."""
INNER_VOICE_WEIGHT = 1.5
"""Error rate of inner voices relative to outer ones (Repp 1996)."""
LEAP_WEIGHT = 1.0
"""The error rate after a leap is multiplied by 1 + this * semitones / 12, for leaps up to 24 semitones."""
GRAZE_LENGTH_S = (0.04, 0.12)
"""Least and largest length of a graze in seconds."""
ASYNCHRONY_S = (-0.01, 0.02)
"""Onset of a wrong key in seconds after its intended note, drawn uniformly between these."""
STUTTER_MIN_LENGTH_S = 0.2
"""Notes at least this long, in seconds, may be struck again in their middle."""


class NoteError(NamedTuple):
    """One error: its kind (of KINDS), weight, index of the intended note, wrong pitch (-1 for none), whether it clashes."""

    kind: str
    weight: float
    note: int
    pitch: int
    clash: bool


class NoteErrors(NamedTuple):
    """The performance with errors, the realised level (summed weight per note in the window), and each error."""

    performance: Performance
    rate: float
    errors: tuple[NoteError, ...]


def add_wrong_notes(p: Performance, rate: float, window_s: float, rng: np.random.Generator) -> NoteErrors:
    """Make errors whose weights sum to `rate` times the number of notes struck in [0, window_s). Other notes stay."""
    inside = np.flatnonzero((p.onset_s >= 0) & (p.onset_s < window_s))
    if rate == 0.0 or inside.size == 0:
        return NoteErrors(p, 0.0, ())
    return _ErrorMaker(p, inside, window_s, rng).make(rate)


class _ErrorMaker:
    """The notes of one window while errors are added to them."""

    def __init__(self, p: Performance, inside: NDArray[np.int64], window_s: float, rng: np.random.Generator) -> None:
        self.p, self.inside, self.window_s, self.rng = p, inside, window_s, rng
        self.onset, self.offset = p.onset_s.tolist(), p.offset_s.tolist()
        self.pitch, self.velocity = p.pitch.tolist(), p.velocity.tolist()
        self.scale = scale_of(*local_key(p.pitch, p.offset_s - p.onset_s))
        self.order = self._error_order()
        self.omitted: set[int] = set()
        self.errors: list[NoteError] = []

    def _error_order(self) -> list[int]:
        """The window's notes in random order, weighted by error rate (weighted sampling, Efraimidis & Spirakis 2006)."""
        onset, pitch = self.p.onset_s, self.p.pitch.astype(np.int64)
        leap = np.abs(np.diff(pitch, prepend=pitch[0])) / 12.0
        chord = chord_numbers(chord_starts(onset, max_gap_s=CHORD_GAP_S))
        top, bottom = np.full(chord[-1] + 1, -1), np.full(chord[-1] + 1, 999)
        np.maximum.at(top, chord, pitch)
        np.minimum.at(bottom, chord, pitch)
        inner = (pitch < top[chord]) & (pitch > bottom[chord])
        weight = (1.0 + LEAP_WEIGHT * np.minimum(leap, 2.0)) * np.where(inner, INNER_VOICE_WEIGHT, 1.0)
        priority = self.rng.random(self.inside.size) ** (1.0 / weight[self.inside])
        return [int(i) for i in self.inside[np.argsort(-priority)]]

    def make(self, rate: float) -> NoteErrors:
        n = self.inside.size
        target = rate * n
        smallest = INSERTION_WEIGHT * GRAZE_LOUDNESS[0]
        largest_graze = INSERTION_WEIGHT * GRAZE_LOUDNESS[1]
        for note in self.order:
            left = target - self._weight()
            if left < smallest:
                if self.rng.random() < left / smallest:
                    self._insert(note, smallest)
                break
            self._make_one(note, left, largest_graze, rate <= ONLY_GRAZES_BELOW, target)
        return self._result(n)

    def _make_one(self, note: int, left: float, largest_graze: float, only_grazes: bool, target: float) -> None:
        kind = "graze" if only_grazes else str(self.rng.choice(KINDS, p=KIND_WEIGHTS))
        if kind == "substitution" and left >= SUBSTITUTION_WEIGHT and self._substitute(note):
            return
        if kind == "omission" and left >= OMISSION_WEIGHT and self._omit(note, target):
            return
        if kind == "stutter" and left >= STUTTER_WEIGHT and self._stutter(note):
            return
        if kind == "graze":
            weight = float(self.rng.uniform(0.1, largest_graze)) if left > largest_graze else left
            self._insert(note, min(weight, left))
        else:
            self._insert(note, min(left, INSERTION_WEIGHT))

    def _weight(self, *, clash_only: bool = False, kind: str | None = None) -> float:
        chosen = (s for s in self.errors if (s.clash or not clash_only) and (kind is None or s.kind == kind))
        return sum(s.weight for s in chosen)

    def _sounding(self, start_s: float, end_s: float, without: int) -> list[int]:
        return [
            key
            for i, key in enumerate(self.pitch)
            if i != without and i not in self.omitted and self.onset[i] < end_s and self.offset[i] > start_s
        ]

    def _wrong_key(self, note: int, start_s: float, end_s: float, weight: float, *, replaced: bool) -> NoteError | None:
        """Choose a free key near `note`. It must clash where too little of the summed weight clashes so far."""
        held = self._sounding(start_s - KEY_RETURN_S, end_s + KEY_RETURN_S, note)
        sounding = self._sounding(start_s, start_s + 0.1, note) + ([] if replaced else [self.pitch[note]])
        free = []
        for semitones, likelihood in zip(SLIPS, SLIP_WEIGHTS, strict=True):
            key = self.pitch[note] + semitones
            if LOWEST_PITCH <= key <= HIGHEST_PITCH and key not in held:
                free.append((key, likelihood, clashes(key, sounding, self.scale)))
        must_clash = CLASHING_SHARE * (self._weight() + weight) > self._weight(clash_only=True)
        clash_drawn = must_clash or self.rng.random() < CLASH_PROBABILITY
        fitting = [c for c in free if c[2] == clash_drawn] or ([] if must_clash else free)
        if not fitting:
            return None
        likelihoods = np.array([c[1] for c in fitting])
        key, _, clash = fitting[int(self.rng.choice(len(fitting), p=likelihoods / likelihoods.sum()))]
        return NoteError("insertion", weight, note, key, clash)

    def _substitute(self, note: int) -> bool:
        error = self._wrong_key(note, self.onset[note], self.offset[note], SUBSTITUTION_WEIGHT, replaced=True)
        if error is None:
            return False
        self.pitch[note] = error.pitch
        self.errors.append(error._replace(kind="substitution"))
        return True

    def _insert(self, note: int, weight: float) -> bool:
        """Strike a wrong key with `note` at the velocity that gives this weight; the rounded velocity's weight is counted."""
        intended = self.velocity[note]
        velocity = min(max(round(weight / INSERTION_WEIGHT * intended), 1), 127)
        weight = INSERTION_WEIGHT * velocity / intended
        graze = weight <= INSERTION_WEIGHT * GRAZE_LOUDNESS[1]
        last = np.nextafter(self.window_s, 0.0)
        start = float(np.clip(self.onset[note] + self.rng.uniform(*ASYNCHRONY_S), 0.0, last))
        length = self.offset[note] - self.onset[note]
        end = start + (min(length, float(self.rng.uniform(*GRAZE_LENGTH_S))) if graze else length)
        error = self._wrong_key(note, start, end, weight, replaced=False)
        if error is None or end <= start:
            return False
        for column, value in (
            (self.onset, start),
            (self.offset, end),
            (self.pitch, error.pitch),
            (self.velocity, velocity),
        ):
            column.append(value)
        self.errors.append(error._replace(kind="graze" if graze else "insertion"))
        return True

    def _stutter(self, note: int) -> bool:
        start, end = self.onset[note], self.offset[note]
        again = start + (end - start) * 0.5
        if end - start < STUTTER_MIN_LENGTH_S or again >= self.window_s or self._would_lack_clashes(STUTTER_WEIGHT):
            return False
        self.offset[note] = again - KEY_RETURN_S
        self.onset.append(again)
        self.offset.append(end)
        self.pitch.append(self.pitch[note])
        self.velocity.append(self.velocity[note])
        self.errors.append(NoteError("stutter", STUTTER_WEIGHT, note, -1, False))
        return True

    def _omit(self, note: int, target: float) -> bool:
        too_many = self._weight(kind="omission") + OMISSION_WEIGHT > OMITTED_SHARE * target
        if too_many or self._would_lack_clashes(OMISSION_WEIGHT) or len(self.omitted) + 2 > self.inside.size:
            return False
        self.omitted.add(note)
        self.errors.append(NoteError("omission", OMISSION_WEIGHT, note, -1, False))
        return True

    def _would_lack_clashes(self, weight: float) -> bool:
        """Whether another error of this weight that does not clash would leave too small a share that clashes."""
        return self._weight(clash_only=True) < CLASHING_SHARE * (self._weight() + weight)

    def _result(self, n: int) -> NoteErrors:
        kept = np.array([i not in self.omitted for i in range(len(self.onset))])
        performance = playable(
            np.array(self.onset)[kept],
            np.array(self.offset)[kept],
            np.array(self.pitch)[kept],
            np.array(self.velocity)[kept],
            self.p.pedal_s,
            self.p.pedal_value,
        )
        return NoteErrors(performance, self._weight() / n, tuple(self.errors))
