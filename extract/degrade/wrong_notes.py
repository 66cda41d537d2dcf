"""Wrong notes that fingers really play: grazed neighbours, slips, stutters, and now and then a note left out.

An inserted note weighs half its loudness relative to the note it was struck with, so that a graze at half velocity
weighs 0.25 and a full insertion 0.5; a substitution weighs 1, an omission and a stutter 0.5. The velocity of a last
graze tunes the sum to the level, so that even a window of few notes says what it should.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from keybed.extract.music.harmony import clashes, local_key, scale_of
from keybed.extract.music.performance import HIGHEST_PITCH, LOWEST_PITCH, Performance, playable

INSERTION_WEIGHT, SUBSTITUTION_WEIGHT, OMISSION_WEIGHT, STUTTER_WEIGHT = 0.5, 1.0, 0.5, 0.5
"""An insertion's weight is multiplied by its velocity over that of its neighbour."""
GRAZE_LOUDNESS = (0.1, 0.7)
"""Velocity of a graze relative to its neighbour."""
ONLY_GRAZES_BELOW = 0.0075
"""Levels up to here are made of grazes alone."""
KINDS = ("substitution", "insertion", "graze", "stutter", "omission")
KIND_WEIGHTS = (0.40, 0.22, 0.20, 0.08, 0.10)
"""How often each kind is tried, as long as the mass left has room for it; else an insertion or a graze."""
CLASHING_SHARE, OMITTED_SHARE = 0.5, 0.2
"""At least this share of the error mass clashes; at most this share is omissions."""
CLASH_PROBABILITY = 0.6
"""How often a clashing key is wanted where enough of the mass clashes already."""
SLIPS = (-1, 1, -2, 2, -12, 12, -3, 3, -4, 4)
SLIP_WEIGHTS = (0.22, 0.22, 0.16, 0.16, 0.05, 0.05, 0.04, 0.04, 0.03, 0.03)
"""Semitones from the intended key: neighbours, the next scale steps, the octave."""
INNER_VOICE_WEIGHT, LEAP_WEIGHT = 1.5, 1.0
"""Inner voices go wrong more often (Repp 1996), and so do notes after a leap: 1 + LEAP_WEIGHT * semitones / 12."""
GRAZE_LENGTH_S = (0.04, 0.12)
ASYNCHRONY_S = (-0.01, 0.02)
"""When a wrong key sounds, after the note that it belongs to."""
STUTTER_MIN_LENGTH_S = 0.2
"""Notes of this length on may be struck again in their middle."""
CHORD_S = 0.03
_KEY_RETURN_S = 0.01


class NoteError(NamedTuple):
    """One error made: its kind, weight, index of the note it befell, the wrong pitch (-1 for none), does it clash."""

    kind: str
    weight: float
    note: int
    pitch: int
    clash: bool


class NoteErrors(NamedTuple):
    """The performance with errors, their weights' sum a note of the window, and what was done."""

    performance: Performance
    rate: float
    errors: tuple[NoteError, ...]


def add_wrong_notes(p: Performance, rate: float, window_s: float, rng: np.random.Generator) -> NoteErrors:
    """Make errors of weight `rate` times the number of notes struck in [0, window_s); outside it nothing changes."""
    inside = np.flatnonzero((p.onset_s >= 0) & (p.onset_s < window_s))
    if rate == 0.0 or inside.size == 0:
        return NoteErrors(p, 0.0, ())
    return _Hand(p, inside, window_s, rng).play(rate)


class _Hand:
    """The notes as they change under a series of slips."""

    def __init__(self, p: Performance, inside: NDArray[np.int64], window_s: float, rng: np.random.Generator) -> None:
        self.p, self.inside, self.window_s, self.rng = p, inside, window_s, rng
        self.onset, self.offset = p.onset_s.tolist(), p.offset_s.tolist()
        self.pitch, self.velocity = p.pitch.tolist(), p.velocity.tolist()
        self.scale = scale_of(*local_key(p.pitch, p.offset_s - p.onset_s))
        self.order = self._likely_first()
        self.gone: set[int] = set()
        self.errors: list[NoteError] = []

    def _likely_first(self) -> list[int]:
        """The window's notes, shuffled so that likelier ones tend to come first (Efraimidis & Spirakis 2006)."""
        onset, pitch = self.p.onset_s, self.p.pitch.astype(np.int64)
        leap = np.abs(np.diff(pitch, prepend=pitch[0])) / 12.0
        chord = np.cumsum(np.concatenate([[True], np.diff(onset) > CHORD_S])) - 1
        top, bottom = np.full(chord[-1] + 1, -1), np.full(chord[-1] + 1, 999)
        np.maximum.at(top, chord, pitch)
        np.minimum.at(bottom, chord, pitch)
        inner = (pitch < top[chord]) & (pitch > bottom[chord])
        weight = (1.0 + LEAP_WEIGHT * np.minimum(leap, 2.0)) * np.where(inner, INNER_VOICE_WEIGHT, 1.0)
        tickets = self.rng.random(self.inside.size) ** (1.0 / weight[self.inside])
        return [int(i) for i in self.inside[np.argsort(-tickets)]]

    def play(self, rate: float) -> NoteErrors:
        n = self.inside.size
        target = rate * n
        smallest = INSERTION_WEIGHT * GRAZE_LOUDNESS[0]
        largest_graze = INSERTION_WEIGHT * GRAZE_LOUDNESS[1]
        for note in self.order:
            left = target - self._mass()
            if left < smallest:
                if self.rng.random() < left / smallest:
                    self._insert(note, smallest, left)
                break
            self._err(note, left, largest_graze, rate <= ONLY_GRAZES_BELOW, target)
        return self._result(n)

    def _err(self, note: int, left: float, largest_graze: float, only_grazes: bool, target: float) -> None:
        kind = "graze" if only_grazes else str(self.rng.choice(KINDS, p=KIND_WEIGHTS))
        if kind == "substitution" and left >= SUBSTITUTION_WEIGHT and self._substitute(note):
            return
        if kind == "omission" and left >= OMISSION_WEIGHT and self._omit(note, target):
            return
        if kind == "stutter" and left >= STUTTER_WEIGHT and self._stutter(note):
            return
        if kind == "graze":
            wish = float(self.rng.uniform(0.1, largest_graze)) if left > largest_graze else left
            self._insert(note, min(wish, left), left)
        else:
            self._insert(note, min(left, INSERTION_WEIGHT), left)

    def _mass(self, *, clash_only: bool = False, kind: str | None = None) -> float:
        chosen = (s for s in self.errors if (s.clash or not clash_only) and (kind is None or s.kind == kind))
        return sum(s.weight for s in chosen)

    def _sounding(self, start_s: float, end_s: float, without: int) -> list[int]:
        return [
            key
            for i, key in enumerate(self.pitch)
            if i != without and i not in self.gone and self.onset[i] < end_s and self.offset[i] > start_s
        ]

    def _wrong_key(self, note: int, start_s: float, end_s: float, weight: float, *, replaced: bool) -> NoteError | None:
        """Choose a key near `note` that nothing holds; it must clash where too little of the error mass does so far."""
        held = self._sounding(start_s - _KEY_RETURN_S, end_s + _KEY_RETURN_S, note)
        heard = self._sounding(start_s, start_s + 0.1, note) + ([] if replaced else [self.pitch[note]])
        free = []
        for slip, likely in zip(SLIPS, SLIP_WEIGHTS, strict=True):
            key = self.pitch[note] + slip
            if LOWEST_PITCH <= key <= HIGHEST_PITCH and key not in held:
                free.append((key, likely, clashes(key, heard, self.scale)))
        owed = CLASHING_SHARE * (self._mass() + weight) > self._mass(clash_only=True)
        wanted = owed or self.rng.random() < CLASH_PROBABILITY
        fitting = [c for c in free if c[2] == wanted] or ([] if owed else free)
        if not fitting:
            return None
        chance = np.array([c[1] for c in fitting])
        key, _, clash = fitting[int(self.rng.choice(len(fitting), p=chance / chance.sum()))]
        return NoteError("insertion", weight, note, key, clash)

    def _substitute(self, note: int) -> bool:
        slip = self._wrong_key(note, self.onset[note], self.offset[note], SUBSTITUTION_WEIGHT, replaced=True)
        if slip is None:
            return False
        self.pitch[note] = slip.pitch
        self.errors.append(slip._replace(kind="substitution"))
        return True

    def _insert(self, note: int, weight: float, left: float) -> bool:
        """Strike a wrong key with `note`, as loud as the weight asks; what counts is the weight of the velocity."""
        intended = self.velocity[note]
        velocity = min(max(round(weight / INSERTION_WEIGHT * intended), 1), 127)
        weight = INSERTION_WEIGHT * velocity / intended
        graze = weight <= INSERTION_WEIGHT * GRAZE_LOUDNESS[1]
        last = np.nextafter(self.window_s, 0.0)
        start = float(np.clip(self.onset[note] + self.rng.uniform(*ASYNCHRONY_S), 0.0, last))
        length = self.offset[note] - self.onset[note]
        end = start + (min(length, float(self.rng.uniform(*GRAZE_LENGTH_S))) if graze else length)
        slip = self._wrong_key(note, start, end, weight, replaced=False)
        if slip is None or end <= start:
            return False
        for column, value in (
            (self.onset, start),
            (self.offset, end),
            (self.pitch, slip.pitch),
            (self.velocity, velocity),
        ):
            column.append(value)
        self.errors.append(slip._replace(kind="graze" if graze else "insertion"))
        return True

    def _stutter(self, note: int) -> bool:
        start, end = self.onset[note], self.offset[note]
        again = start + (end - start) * 0.5
        if end - start < STUTTER_MIN_LENGTH_S or again >= self.window_s or self._owed_after(STUTTER_WEIGHT):
            return False
        self.offset[note] = again - _KEY_RETURN_S
        self.onset.append(again)
        self.offset.append(end)
        self.pitch.append(self.pitch[note])
        self.velocity.append(self.velocity[note])
        self.errors.append(NoteError("stutter", STUTTER_WEIGHT, note, -1, False))
        return True

    def _omit(self, note: int, target: float) -> bool:
        too_many = self._mass(kind="omission") + OMISSION_WEIGHT > OMITTED_SHARE * target
        if too_many or self._owed_after(OMISSION_WEIGHT) or len(self.gone) + 2 > self.inside.size:
            return False
        self.gone.add(note)
        self.errors.append(NoteError("omission", OMISSION_WEIGHT, note, -1, False))
        return True

    def _owed_after(self, weight: float) -> bool:
        """Would an error that does not clash leave too little of the mass clashing?"""
        return self._mass(clash_only=True) < CLASHING_SHARE * (self._mass() + weight)

    def _result(self, n: int) -> NoteErrors:
        kept = np.array([i not in self.gone for i in range(len(self.onset))])
        performance = playable(
            np.array(self.onset)[kept],
            np.array(self.offset)[kept],
            np.array(self.pitch)[kept],
            np.array(self.velocity)[kept],
            self.p.pedal_s,
            self.p.pedal_value,
        )
        return NoteErrors(performance, self._mass() / n, tuple(self.errors))
