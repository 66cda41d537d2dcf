"""Scores of the demo corpus: small pieces in four textures, composed by rule, in beats and pitches.

Phrases of eight bars over functional harmony in the form A A' B A', with cadences, a melody of repeated motives, and
accompanying parts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

TEXTURES = ("chorale", "alberti", "waltz", "nocturne")
PHRASE_BARS = 8
_SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 11)}
_HALF_PHRASES = ((0, 5, 1, 4), (0, 3, 4, 0), (0, 2, 3, 4), (5, 3, 1, 4), (0, 3, 1, 4))
"""Scale degrees of four bars' chords; the second half of a phrase ends with a cadence instead."""
_CADENCES = {"open": (5, 1, 4, 4), "closed": (3, 1, 4, 0)}
_MOTIVES = {
    3: ((1.0, 1.0, 1.0), (1.5, 0.5, 1.0), (0.5, 0.5, 1.0, 1.0), (2.0, 0.5, 0.5), (1.0, 0.5, 0.5, 0.5, 0.5)),
    4: ((1.0, 1.0, 1.0, 1.0), (1.5, 0.5, 1.0, 1.0), (0.5, 0.5, 1.0, 0.5, 0.5, 1.0), (2.0, 1.0, 0.5, 0.5)),
}


@dataclass(frozen=True)
class ScoreNote:
    """One written note. beat: start, in beats from the start of the piece; part: "melody", "inner" or "bass"."""

    beat: float
    beats: float
    pitch: int
    part: str


@dataclass(frozen=True)
class Score:
    """A written piece. tonic: pitch class. bpm: basic tempo in beats per minute."""

    texture: str
    tonic: int
    mode: str
    beats_per_bar: int
    bpm: float
    n_bars: int
    notes: tuple[ScoreNote, ...]
    forte_phrases: tuple[bool, ...]
    """True for phrases marked forte; the others are piano."""
    staccato_phrases: tuple[bool, ...]


def compose(rng: np.random.Generator, texture: str, tonic: int, mode: str, seconds: float) -> Score:
    """Compose a piece of about this many seconds. ValueError for a texture that is not in TEXTURES."""
    if texture not in TEXTURES:
        raise ValueError(f"texture {texture!r}: choose one of {', '.join(TEXTURES)}")
    beats_per_bar = 3 if texture == "waltz" else 4
    low, high = {"chorale": (84, 100), "alberti": (104, 126), "waltz": (138, 164), "nocturne": (84, 100)}[texture]
    bpm = float(rng.uniform(low, high))
    n_phrases = max(2, round(seconds * bpm / 60 / beats_per_bar / PHRASE_BARS))
    chords = _harmony(rng, n_phrases)
    scale = _SCALES[mode]
    motives = [_MOTIVES[beats_per_bar][i] for i in rng.choice(len(_MOTIVES[beats_per_bar]), 3, replace=False)]
    melody = _melody(rng, chords, tonic, scale, beats_per_bar, motives)
    accompany = {"chorale": _chorale, "alberti": _alberti, "waltz": _waltz, "nocturne": _nocturne}[texture]
    notes = melody + accompany(chords, tonic, scale, melody)
    return Score(
        texture=texture,
        tonic=tonic,
        mode=mode,
        beats_per_bar=beats_per_bar,
        bpm=bpm,
        n_bars=len(chords),
        notes=tuple(sorted(notes, key=lambda note: (note.beat, note.pitch))),
        forte_phrases=tuple(bool(i % 4 == 2 or rng.random() < 0.25) for i in range(n_phrases)),
        staccato_phrases=tuple(bool(texture != "nocturne" and i % 2 == 1) for i in range(n_phrases)),
    )


def _harmony(rng: np.random.Generator, n_phrases: int) -> list[int]:
    """One chord (scale degree) per bar; phrases A and B in the order A A' B A', each ending open or closed."""
    first = {
        name: _HALF_PHRASES[i] for name, i in zip("AB", rng.choice(len(_HALF_PHRASES), 2, replace=False), strict=True)
    }
    chords: list[int] = []
    for phrase in range(n_phrases):
        name = "B" if phrase % 4 == 2 else "A"
        closed = phrase % 2 == 1 or phrase == n_phrases - 1
        chords += [*first[name], *_CADENCES["closed" if closed else "open"]]
    return chords


def _pitch(tonic: int, scale: tuple[int, ...], step: int) -> int:
    """MIDI pitch of a scale step, counted from the tonic in the octave of middle C."""
    octave, degree = divmod(step, 7)
    return 60 + (tonic if tonic <= 6 else tonic - 12) + 12 * octave + scale[degree]


def _melody(
    rng: np.random.Generator,
    chords: list[int],
    tonic: int,
    scale: tuple[int, ...],
    beats_per_bar: int,
    motives: list[tuple[float, ...]],
) -> list[ScoreNote]:
    """Chord notes on strong beats and steps between them, within a twelfth above the tonic near middle C."""
    notes: list[ScoreNote] = []
    step = 7
    for bar, chord in enumerate(chords):
        last_of_phrase = bar % PHRASE_BARS == PHRASE_BARS - 1
        rhythm = (float(beats_per_bar),) if last_of_phrase else motives[(0, 0, 1, 0, 0, 2, 1)[bar % PHRASE_BARS]]
        aim = 7 + round(4 * np.sin(np.pi * (bar % PHRASE_BARS) / (PHRASE_BARS - 1)) + rng.normal(0, 1.2))
        beat = float(bar * beats_per_bar)
        for position, beats in enumerate(rhythm):
            if position == 0 or beats >= 1.5:
                members = [chord + degree + 7 * octave for octave in range(-1, 3) for degree in (0, 2, 4)]
                step = min(members, key=lambda s: abs(s - 0.5 * (aim + step)) + 0.3 * (s == step))
            else:
                step += int(np.sign(aim - step)) or int(rng.choice((-1, 1)))
            step = min(max(step, 3), 14)
            notes.append(ScoreNote(beat, beats, _pitch(tonic, scale, step), "melody"))
            beat += beats
    return notes


def _chord(chord: int, tonic: int, scale: tuple[int, ...], below: int, above: int) -> list[int]:
    """The pitches of a triad from `above` up to, but not including, `below`."""
    members = {_pitch(tonic, scale, chord + degree + 7 * octave) for octave in range(-4, 3) for degree in (0, 2, 4)}
    return sorted(pitch for pitch in members if above <= pitch < below)


def _bass(chord: int, tonic: int, scale: tuple[int, ...]) -> int:
    pitch = _pitch(tonic, scale, chord - 7)
    while pitch > 52:
        pitch -= 12
    return pitch


def _chorale(chords: list[int], tonic: int, scale: tuple[int, ...], melody: list[ScoreNote]) -> list[ScoreNote]:
    """Alto, tenor and bass on every beat; each moves to the nearest note of the new chord, the bass by passing notes."""
    notes: list[ScoreNote] = []
    alto, tenor = 62, 55
    n_beats = len(chords) * 4
    soprano = [max(n.pitch for n in melody if n.beat <= beat < n.beat + n.beats) for beat in range(n_beats)]
    for beat in range(n_beats):
        chord, following = chords[beat // 4], chords[min(beat // 4 + 1, len(chords) - 1)]
        inner = _chord(chord, tonic, scale, below=soprano[beat], above=53)
        alto = min(inner, key=lambda pitch: (abs(pitch - alto), -pitch))
        tenor = min([p for p in inner if p < alto] or inner, key=lambda pitch: (abs(pitch - tenor), pitch))
        bass = _bass(chord, tonic, scale)
        if beat % 4 == 3:  # a passing note towards the next bar's root
            bass += int(np.sign(_bass(following, tonic, scale) - bass)) * 2
        parts = {"alto": alto, "tenor": tenor, "bass": bass}
        notes += [ScoreNote(float(beat), 1.0, pitch, "bass" if p == "bass" else "inner") for p, pitch in parts.items()]
    return notes


def _alberti(chords: list[int], tonic: int, scale: tuple[int, ...], melody: list[ScoreNote]) -> list[ScoreNote]:
    """Broken triads in eighths, low, high, middle, high."""
    notes = []
    for bar, chord in enumerate(chords):
        low, middle, high = _chord(chord, tonic, scale, below=66, above=48)[:3]
        for eighth in range(8):
            pitch = (low, high, middle, high)[eighth % 4]
            notes.append(ScoreNote(bar * 4 + eighth / 2, 0.5, pitch, "bass" if eighth % 4 == 0 else "inner"))
    return notes


def _waltz(chords: list[int], tonic: int, scale: tuple[int, ...], melody: list[ScoreNote]) -> list[ScoreNote]:
    """Bass on one, chords on two and three."""
    notes = []
    for bar, chord in enumerate(chords):
        notes.append(ScoreNote(bar * 3.0, 1.0, _bass(chord, tonic, scale), "bass"))
        for beat in (1, 2):
            notes += [
                ScoreNote(bar * 3.0 + beat, 1.0, pitch, "inner")
                for pitch in _chord(chord, tonic, scale, below=65, above=52)[:3]
            ]
    return notes


def _nocturne(chords: list[int], tonic: int, scale: tuple[int, ...], melody: list[ScoreNote]) -> list[ScoreNote]:
    """Wide arpeggios in eighths from a low bass, up and back."""
    notes = []
    for bar, chord in enumerate(chords):
        bass = _bass(chord, tonic, scale)
        rising = [bass, *_chord(chord, tonic, scale, below=68, above=bass + 7)][:5]
        figure = (rising + rising[-2:0:-1] + rising)[:8]
        notes += [
            ScoreNote(bar * 4 + i / 2, 0.5, pitch, "bass" if i == 0 else "inner") for i, pitch in enumerate(figure)
        ]
    return notes


def without_unisons(notes: tuple[ScoreNote, ...]) -> list[ScoreNote]:
    """Notes that one keyboard can play: of two on one key at one time the melody stays, and held keys end in time."""
    by_key: dict[int, list[ScoreNote]] = {}
    for note in sorted(notes, key=lambda n: (n.beat, n.part != "melody")):
        played = by_key.setdefault(note.pitch, [])
        if not played or note.beat > played[-1].beat:
            played.append(note)
    kept = []
    for played in by_key.values():
        struck_again = [note.beat for note in played[1:]] + [np.inf]
        for note, again in zip(played, struck_again, strict=True):
            kept.append(ScoreNote(note.beat, min(note.beats, again - note.beat), note.pitch, note.part))
    return sorted(kept, key=lambda note: (note.beat, note.pitch))
