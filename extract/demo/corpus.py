"""A small synthetic corpus in MAESTRO v3's layout, so that the demo needs no download.

Each piece is played by two simulated players, who differ in rubato, phrasing, voicing, articulation and pedal, so that
every degradation axis has something to act on. Results on it show that the software works; they say nothing about
real performances.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from keybed.extract.corpus.csv_corpus import MAESTRO_COLUMNS
from keybed.extract.corpus.layouts import MAESTRO_CSV
from keybed.extract.corpus.metadata import CorpusError
from keybed.extract.demo.composers import COMPOSERS
from keybed.extract.demo.score import PHRASE_BARS, TEXTURES, Score, compose, without_unisons
from keybed.extract.music.performance import Performance
from keybed.store.counted import counted

TICKS_PER_BEAT = 480
_TICKS_PER_S = 2 * TICKS_PER_BEAT
_TONICS = (0, 7, 2, 9, 4, 5, 10, 3, 8, 1, 6, 11)
_TONIC_NAMES = ("C", "D-flat", "D", "E-flat", "E", "F", "F-sharp", "G", "A-flat", "A", "B-flat", "B")
_FORMS = {"chorale": "Chorale", "alberti": "Sonatina", "waltz": "Waltz", "nocturne": "Nocturne"}
YEARS = (2004, 2018)


@dataclass(frozen=True)
class Player:
    """Playing style. Velocities are MIDI's, times in seconds, tempo relative to the score's."""

    tempo: float
    rubato: float
    """Depth of the tempo arch over a phrase."""
    arch: float
    """Velocity added from the edge of a phrase to its middle."""
    forte: float
    """Velocity difference of forte and piano phrases."""
    voicing: float
    """Velocity added to the melody."""
    melody_lead_s: float
    legato: float
    """Length of a legato note as a share of its written length."""
    pedal_share: float
    """Share of each half bar (bar, in a waltz) with the pedal down."""
    unevenness_s: float
    noise_velocity: float


def write_demo_corpus(
    folder: Path, *, n_pieces: int = 16, n_players: int = 2, seconds: float = 60.0, seed: int = 0
) -> Path:
    """Write the CSV and the MIDI files into `folder`, and return it. Equal arguments give equal bytes.

    Pieces are divided 10:3:3 into train, validation and test, at least one in each. Raises CorpusError for fewer than 4
    pieces, and where the folder holds the CSV of another corpus.
    """
    if n_pieces < 4 or n_players < 1:
        raise CorpusError(
            f"a demo corpus of {counted(n_pieces, 'piece')} and {counted(n_players, 'player')}: at least 4 and 1 are needed"
        )
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for piece in range(n_pieces):
        rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, piece])))
        texture, tonic = TEXTURES[piece % len(TEXTURES)], _TONICS[piece % 12]
        mode = "minor" if piece % 3 == 2 else "major"
        score = compose(rng, texture, tonic, mode, seconds)
        number = piece // len(TEXTURES) + 1
        title = f"{_FORMS[texture]} in {_TONIC_NAMES[tonic]} {mode.capitalize()}, Op. 1 No. {number}"
        for player in range(n_players):
            performance = perform(score, _player(seed, player), rng)
            year = YEARS[player % len(YEARS)]
            name = f"{year}/demo_{texture}_{number}_player{player + 1}"
            (folder / str(year)).mkdir(exist_ok=True)
            _write_midi(folder / f"{name}.midi", performance)
            end_s = max(float(performance.offset_s.max()), float(performance.pedal_s.max()))
            split = _split(piece, n_pieces)
            lines.append((COMPOSERS[texture], title, split, year, f"{name}.midi", f"{name}.wav", f"{end_s:.6f}"))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(MAESTRO_COLUMNS)
    writer.writerows(lines)
    _write_csv(folder / MAESTRO_CSV, text.getvalue())
    return folder


def _write_csv(path: Path, text: str) -> None:
    if path.exists() and path.read_text(encoding="utf-8") != text:
        raise CorpusError(f"{path} describes another corpus; write the demo's into a folder of its own")
    path.write_text(text, encoding="utf-8")


def _split(piece: int, n_pieces: int) -> str:
    """Split of a piece: the last 3/16 are test, the 3/16 before them validation, at least one piece each."""
    held_out = max(1, round(n_pieces * 3 / 16))
    if piece >= n_pieces - held_out:
        return "test"
    return "validation" if piece >= n_pieces - 2 * held_out else "train"


def _player(seed: int, number: int) -> Player:
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, 1_000_000 + number])))
    return Player(
        tempo=rng.uniform(0.93, 1.07),
        rubato=rng.uniform(0.06, 0.14),
        arch=rng.uniform(14, 24),
        forte=rng.uniform(14, 22),
        voicing=rng.uniform(9, 16),
        melody_lead_s=rng.uniform(0.010, 0.025),
        legato=rng.uniform(0.88, 0.96),
        pedal_share=rng.uniform(0.45, 0.62),
        unevenness_s=rng.uniform(0.005, 0.009),
        noise_velocity=rng.uniform(2.0, 4.0),
    )


def perform(score: Score, player: Player, rng: np.random.Generator) -> Performance:
    """Play a score. Times are multiples of a MIDI tick; notes of one key do not overlap."""
    notes = without_unisons(score.notes)
    second_of = _tempo_map(score, player, rng)
    beat = np.array([note.beat for note in notes])
    melody = np.array([note.part == "melody" for note in notes])
    phrase = np.minimum(beat // (score.beats_per_bar * PHRASE_BARS), len(score.forte_phrases) - 1).astype(int)
    staccato = np.array(score.staccato_phrases)[phrase] & ~melody
    share = np.where(staccato, 0.45, np.where(melody, player.legato + 0.06, player.legato))
    share *= np.exp(rng.normal(0, 0.05, beat.size))
    length = np.array([note.beats for note in notes]) * np.minimum(share, 1.0)
    uneven = rng.normal(0, player.unevenness_s, beat.size)
    onset = second_of(beat) + uneven - melody * player.melody_lead_s + 0.5
    offset = np.maximum(second_of(beat + length) + uneven + 0.5, onset + 0.04)
    velocity = _velocities(score, player, beat, melody, phrase, rng)
    pedal_s, pedal_value = _pedal(score, player, second_of)
    return _on_grid(onset, offset, np.array([n.pitch for n in notes]), velocity, pedal_s + 0.5, pedal_value)


class _TempoMap:
    """Map of beats to seconds, linear between sixteenths."""

    def __init__(self, beats: NDArray[np.float64], seconds: NDArray[np.float64]) -> None:
        self._beats, self._seconds = beats, seconds

    def __call__(self, beat: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.interp(beat, self._beats, self._seconds))


def _tempo_map(score: Score, player: Player, rng: np.random.Generator) -> _TempoMap:
    """Tempo: an arch over every phrase, a ritardando at its end, and slow random variation."""
    n_beats = score.n_bars * score.beats_per_bar
    beats = np.arange(0, n_beats + 4.25, 0.25)
    inside = (beats / (score.beats_per_bar * PHRASE_BARS)) % 1.0
    tempo = 1 + player.rubato * (np.sin(np.pi * inside) - 0.5) - 1.5 * player.rubato * np.clip(inside - 0.9, 0, 1) * 10
    wander = np.convolve(rng.normal(0, 1, beats.size + 31), np.hanning(32) / 4, mode="valid")[: beats.size]
    tempo *= 1 + 0.012 * wander
    seconds_per_beat = 60 / (score.bpm * player.tempo * np.maximum(tempo, 0.4))
    return _TempoMap(beats, np.concatenate([[0.0], np.cumsum(seconds_per_beat[:-1] * 0.25)]))


def _velocities(
    score: Score,
    player: Player,
    beat: NDArray[np.float64],
    melody: NDArray[np.bool_],
    phrase: NDArray[np.int_],
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    inside = (beat / (score.beats_per_bar * PHRASE_BARS)) % 1.0
    accent = np.where(beat % score.beats_per_bar == 0, 5.0, np.where(beat % 1 == 0, 0.0, -4.0))
    velocity = 44 + player.arch * (np.sin(np.pi * inside) - 0.3) + player.forte * np.array(score.forte_phrases)[phrase]
    velocity += player.voicing * melody + accent + rng.normal(0, player.noise_velocity, beat.size)
    return np.clip(velocity, 12, 118)


def _pedal(score: Score, player: Player, second_of: _TempoMap) -> tuple[NDArray[np.float64], NDArray[np.int_]]:
    """Pedal events: down just after each half bar (each bar in a waltz), up before the next, in three steps each."""
    every = 3.0 if score.beats_per_bar == 3 else 2.0
    down = np.arange(0, score.n_bars * score.beats_per_bar, every) + 0.12
    up = down + every * player.pedal_share
    moves = [
        (float(second) + 0.02 * step, value)
        for beats, values in ((down, (40, 85, 120)), (up, (80, 35, 0)))
        for second in second_of(beats)
        for step, value in enumerate(values)
    ]
    moves.sort()
    return np.array([second for second, _ in moves]), np.array([value for _, value in moves])


def _on_grid(
    onset: NDArray[np.float64],
    offset: NDArray[np.float64],
    pitch: NDArray[np.int_],
    velocity: NDArray[np.float64],
    pedal_s: NDArray[np.float64],
    pedal_value: NDArray[np.int_],
) -> Performance:
    on = np.round(onset * _TICKS_PER_S).astype(int)
    off = np.maximum(np.round(offset * _TICKS_PER_S).astype(int), on + 1)
    for key in np.unique(pitch):
        played = np.flatnonzero(pitch == key)
        played = played[np.argsort(on[played], kind="stable")]
        off[played[:-1]] = np.minimum(off[played[:-1]], on[played[1:]] - 1)
    order = np.lexsort((pitch, on))
    return Performance(
        onset_s=on[order] / _TICKS_PER_S,
        offset_s=off[order] / _TICKS_PER_S,
        pitch=pitch[order].astype(np.int16),
        velocity=np.round(velocity[order]).astype(np.int16),
        pedal_s=np.round(pedal_s * _TICKS_PER_S).astype(int) / _TICKS_PER_S,
        pedal_value=pedal_value.astype(np.int16),
    )


def _write_midi(path: Path, performance: Performance) -> None:
    from keybed.extract.music.midi_writer import write_midi

    write_midi(path, performance, ticks_per_beat=TICKS_PER_BEAT)
