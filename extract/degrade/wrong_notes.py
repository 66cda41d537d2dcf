"""Wrong notes as pianists play them: substitutions, insertions, grazed neighbour keys, stutters and omissions.

The level is the sum of error weights per note. A substitution weighs 1, an omission and a stutter 0.5, an insertion 0.5
times its velocity over that of the note it was struck with (a graze at half velocity: 0.25). The velocity of the last
graze is chosen so that the sum meets the target even in a window of few notes. Lags, lengths and velocities of wrong notes
are those of the recording's own notes (`texture`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from keybed.extract.degrade.finish import finished
from keybed.extract.degrade.texture import USUAL_TEXTURE, Texture
from keybed.extract.degrade.ticks import TICK_S, on_ticks
from keybed.extract.music.chords import CHORD_GAP_S, chord_numbers, chord_starts
from keybed.extract.music.harmony import clashes, local_key, scale_of
from keybed.extract.music.performance import HIGHEST_PITCH, LOWEST_PITCH, Performance

INSERTION_WEIGHT, SUBSTITUTION_WEIGHT, OMISSION_WEIGHT, STUTTER_WEIGHT = 0.5, 1.0, 0.5, 0.5
"""Weights of the kinds. That of an insertion is multiplied by its velocity over that of the intended note."""
GRAZE_LOUDNESS = (0.3, 0.7)
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
INSERTION_LOUDNESS = (0.7, 1.3)
"""Least and largest velocity of an insertion that is no graze, relative to the intended note."""
INSERTION_LENGTHS = (0.4, 2.5)
"""Least and largest length of such an insertion, relative to the intended note."""
ASYNCHRONY_S = (-0.01, 0.02)
"""Onset of a wrong key in seconds after its intended note: a lag between notes of one chord of the recording, within these."""
SMEAR_S = 0.0026
"""Drawn lags and lengths are smeared evenly over this time in seconds, so that they keep no tick of the file."""
LEFT_OVER = 0.02
"""A remaining weight below this is not made."""
STUTTER_MIN_LENGTH_S = 0.3
"""Notes at least this long, in seconds, may be struck again near their middle."""
STUTTER_PLACE = (0.4, 0.6)
"""Where in its length a note is struck again, drawn uniformly between these."""
STUTTER_LOUDNESS = (0.75, 1.15)
"""Velocity of the second stroke relative to the first: a ratio of two notes of one chord of the recording, within these."""
SOFTEST_SHARE = 0.1
"""A wrong note is no softer than one drawn from this softest part of the window's notes."""
SOFTER_ALLOWED_AFTER = 0.25
"""A last graze may be softer once this share of the window's notes was too soft for it."""
_TRIES = 12


def _cumulated(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    cumulated = probabilities.cumsum()
    return np.asarray(cumulated / cumulated[-1])


def _drawn(cumulated: NDArray[np.float64], rng: np.random.Generator) -> int:
    """What rng.choice(n, p=probabilities) draws, without its checks."""
    return int(cumulated.searchsorted(rng.random(), side="right"))


_KINDS_UP_TO = _cumulated(np.array(KIND_WEIGHTS))


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


def add_wrong_notes(
    p: Performance, rate: float, window_s: float, rng: np.random.Generator, texture: Texture = USUAL_TEXTURE
) -> NoteErrors:
    """Make errors whose weights sum to `rate` times the number of notes struck in [0, window_s). Other notes stay."""
    inside = np.flatnonzero((p.onset_s >= 0) & (p.onset_s < window_s))
    if rate == 0.0 or inside.size == 0:
        return NoteErrors(p, 0.0, ())
    return _ErrorMaker(p, inside, window_s, rng, texture).make(rate)


class _ErrorMaker:
    """The notes of one window while errors are added to them."""

    def __init__(
        self,
        p: Performance,
        inside: NDArray[np.int64],
        window_s: float,
        rng: np.random.Generator,
        texture: Texture,
    ) -> None:
        self.texture, self.key_return_s = texture, float(texture.returns_s[-1]) + SMEAR_S
        self.quiet = np.sort(p.velocity[inside])[: max(int(SOFTEST_SHARE * inside.size), 1)]
        self.p, self.inside, self.window_s, self.rng = p, inside, window_s, rng
        self.onset, self.offset = p.onset_s.tolist(), p.offset_s.tolist()
        self.pitch, self.velocity = p.pitch.tolist(), p.velocity.tolist()
        self.scale = scale_of(*local_key(p.pitch, p.offset_s - p.onset_s))
        self.order = self._error_order()
        self.omitted: set[int] = set()
        self.errors: list[NoteError] = []
        self.passed_over = 0

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
        for note in self.order:
            left = target - self._weight()
            if left < LEFT_OVER:
                break
            if left < smallest:
                if not self.errors and not self.passed_over and self.rng.random() >= left / smallest:
                    break
                if self.errors and left < 0.5 * smallest:
                    break
                left = smallest
            self._make_one(note, left, rate <= ONLY_GRAZES_BELOW, target)
        return self._result(n)

    def _make_one(self, note: int, left: float, only_grazes: bool, target: float) -> None:
        kind = "graze" if only_grazes else KINDS[_drawn(_KINDS_UP_TO, self.rng)]
        if kind == "substitution" and _fits(SUBSTITUTION_WEIGHT, left) and self._substitute(note):
            return
        if kind == "omission" and _fits(OMISSION_WEIGHT, left) and self._omit(note, target):
            return
        if kind == "stutter" and _fits(STUTTER_WEIGHT, left) and self._stutter(note):
            return
        low, high = (INSERTION_WEIGHT * x for x in (GRAZE_LOUDNESS if kind == "graze" else INSERTION_LOUDNESS))
        least = self._least_weight(note)
        if low <= left <= high or left < low + INSERTION_WEIGHT * GRAZE_LOUDNESS[0]:
            if left < least and self.passed_over < SOFTER_ALLOWED_AFTER * self.inside.size:
                self.passed_over += 1
            else:
                self._insert(note, left)
            return
        weight = INSERTION_WEIGHT * self._ratio(2, low / INSERTION_WEIGHT, high / INSERTION_WEIGHT)
        self._insert(note, min(max(weight, least), left - INSERTION_WEIGHT * GRAZE_LOUDNESS[0]))

    def _least_weight(self, note: int) -> float:
        """Weight of an insertion beside a note that is as soft as one of the window's own softest notes, or GRAZE_LOUDNESS[1]."""
        softest = int(self.quiet[self.rng.integers(self.quiet.size)])
        return INSERTION_WEIGHT * min(softest, int(GRAZE_LOUDNESS[1] * self.velocity[note])) / self.velocity[note]

    def _ratio(self, column: int, low: float, high: float) -> float:
        """Of two notes of one chord of the recording, the ratio of lengths (1) or of velocities (2), between two bounds."""
        drawn = self.texture.pairs[self.rng.integers(len(self.texture.pairs), size=_TRIES), column]
        fitting = drawn[(drawn >= low) & (drawn <= high)]
        return float(fitting[0]) if fitting.size else float(self.rng.uniform(low, high))

    def _smear(self) -> float:
        return SMEAR_S * float(self.rng.random() - 0.5)

    def _lag_s(self) -> float:
        low, high = ASYNCHRONY_S
        lag = self._ratio(0, low, high) + self._smear()
        return min(max(lag, low), high)

    def _graze_length_s(self) -> float:
        pool = self.texture.graze_s
        return max(float(pool[self.rng.integers(pool.size)]) + self._smear(), 0.01)

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
        held = self._sounding(start_s - self.key_return_s, end_s + self.key_return_s, note)
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
        key, _, clash = fitting[_drawn(_cumulated(likelihoods / likelihoods.sum()), self.rng)]
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
        lag = self._lag_s()
        start = self.onset[note] + lag
        if not 0.0 <= start < self.window_s:
            start = self.onset[note] - lag
        start = float(on_ticks(np.array(min(max(start, 0.0), self.window_s - TICK_S))))
        if graze:
            length = self._graze_length_s()
        else:
            length = (self.offset[note] - self.onset[note]) * self._ratio(1, *INSERTION_LENGTHS) + self._smear()
        end = start + float(on_ticks(np.array(length)))
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
        again = start + (end - start) * float(self.rng.uniform(*STUTTER_PLACE))
        pool = self.texture.returns_s
        gap = float(pool[self.rng.integers(pool.size)]) + self._smear()
        if end - start < STUTTER_MIN_LENGTH_S or again >= self.window_s or self._would_lack_clashes(STUTTER_WEIGHT):
            return False
        again, gap = (float(on_ticks(np.array(x))) for x in (again, gap))
        if again - start < 2 * gap:
            return False
        self.offset[note] = again - gap
        self.onset.append(again)
        self.offset.append(end)
        self.pitch.append(self.pitch[note])
        loudness = self.velocity[note] * self._ratio(2, *STUTTER_LOUDNESS)
        self.velocity.append(min(max(round(loudness), 1), 127))
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
        performance = finished(
            np.array(self.onset)[kept],
            np.array(self.offset)[kept],
            np.array(self.pitch)[kept],
            np.array(self.velocity)[kept],
            self.p.pedal_s,
            self.p.pedal_value,
            self.texture,
        )
        return NoteErrors(performance, self._weight() / n, tuple(self.errors))


def _fits(weight: float, left: float) -> bool:
    """Whether an error of this weight leaves nothing, or enough for another one."""
    rest = left - weight
    return abs(rest) < LEFT_OVER or rest >= INSERTION_WEIGHT * GRAZE_LOUDNESS[0]
