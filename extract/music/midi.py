"""Read MIDI files as piano notes and pedal.

All tracks are merged on one keyboard with one pedal. Drums, other instruments, pitches outside the piano and notes
without length are left out.
"""

from __future__ import annotations

import os
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from keybed.extract.music.pedal import SUSTAIN_CONTROL
from keybed.extract.music.performance import HIGHEST_PITCH, LOWEST_PITCH, Performance, playable
from keybed.store.errors import KeybedError

if TYPE_CHECKING:
    import mido

PIANO_PROGRAMS = range(8)
"""General MIDI's piano family; notes of other programs are left out."""
DRUM_CHANNEL = 9
DEFAULT_TEMPO_US = 500_000
"""Microseconds per beat until a file sets its tempo (120 bpm)."""


class MidiError(KeybedError):
    """A MIDI or notes file that cannot be read, or holds no piano note; the message names the file and the reason."""


def read_midi(path: str | Path) -> Performance:
    """Read a whole recording: tempo changes resolved, overlapping notes of one pitch cut.

    A note that is never released ends with the file. Raises MidiError where the file cannot be read or no note is left.
    """
    import mido

    try:
        midi = mido.MidiFile(os.fspath(path), clip=True)
    except (OSError, EOFError, ValueError, KeyError, IndexError, TypeError, mido.KeySignatureError) as error:
        raise MidiError(f"{path}: {_why_unreadable(Path(path), error)}") from error
    if midi.type == 2:
        raise MidiError(f"{path}: a MIDI file of type 2 holds several pieces; export it as type 0 or 1")
    if midi.ticks_per_beat == 0:
        raise MidiError(f"{path}: a beat of 0 ticks, so that its times mean nothing; export it again")
    if not 0 < midi.ticks_per_beat < 0x8000:
        raise MidiError(f"{path}: time code instead of ticks per beat; export it with a tempo")

    events, tempi, end_tick = _events(midi)
    ticks = np.array([event[0] for event in events], np.int64)
    second_of = _clock(tempi, midi.ticks_per_beat)
    seconds = second_of(ticks)
    notes, pedal = _play(events, seconds.tolist(), float(second_of(np.array([end_tick]))[0]))
    if not notes:
        raise MidiError(f"{path}: no piano note in it")
    onset, offset, pitch, velocity = (np.array(column) for column in zip(*notes, strict=True))
    return playable(
        onset,
        offset,
        pitch,
        velocity,
        np.array([t for t, _ in pedal], np.float64),
        np.array([v for _, v in pedal], np.int16),
    )


def _why_unreadable(path: Path, error: Exception) -> str:
    """The reason mido failed, in words that say what to do."""
    try:
        with path.open("rb") as file:
            head = file.read(4)
    except OSError as reading:
        return reading.strerror or str(reading)
    if not head:
        return "an empty file; copy it again"
    if head != b"MThd":
        return "not a MIDI file (it does not begin with MThd)"
    if isinstance(error, EOFError):
        return "cut short, its last track has no end; copy it again"
    return f"a damaged MIDI file ({type(error).__name__}: {error})"


_Event = tuple[int, int, tuple[int, int], int, int]
"""tick, kind (0 note-off, 1 sustain, 2 note-on), (track, channel), number, value."""


def _events(midi: mido.MidiFile) -> tuple[list[_Event], list[tuple[int, int]], int]:
    events: list[_Event] = []
    tempi: list[tuple[int, int]] = []
    end_tick = 0
    for track_index, track in enumerate(midi.tracks):
        tick = 0
        program: dict[int, int] = {}
        for message in track:
            tick += message.time
            kind = message.type
            if kind == "note_on" or kind == "note_off":
                channel = message.channel
                if channel == DRUM_CHANNEL or program.get(channel, 0) not in PIANO_PROGRAMS:
                    continue
                on = kind == "note_on" and message.velocity > 0
                events.append((tick, 2 if on else 0, (track_index, channel), message.note, message.velocity))
            elif kind == "control_change":
                if message.control == SUSTAIN_CONTROL and message.channel != DRUM_CHANNEL:
                    events.append((tick, 1, (track_index, message.channel), SUSTAIN_CONTROL, message.value))
            elif kind == "program_change":
                program[message.channel] = message.program
            elif kind == "set_tempo":
                tempi.append((tick, message.tempo))
        end_tick = max(end_tick, tick)
    events.sort(key=itemgetter(0))
    return events, sorted(tempi), end_tick


def _clock(tempi: list[tuple[int, int]], ticks_per_beat: int) -> Any:
    """A function from ticks (int64 array) to seconds, through all tempo changes."""
    ticks, tempo = [0], [DEFAULT_TEMPO_US]
    for tick, microseconds in tempi:
        if tick == ticks[-1]:
            tempo[-1] = microseconds
        else:
            ticks.append(tick)
            tempo.append(microseconds)
    knots = np.array(ticks, np.int64)
    second_per_tick = np.array(tempo, np.float64) / (1e6 * ticks_per_beat)
    knots_s = np.concatenate([[0.0], np.cumsum(np.diff(knots) * second_per_tick[:-1])])

    def second_of(tick: NDArray[np.int64]) -> NDArray[np.float64]:
        piece = np.searchsorted(knots, tick, side="right") - 1
        return np.asarray(knots_s[piece] + (tick - knots[piece]) * second_per_tick[piece])

    return second_of


def _play(
    events: list[_Event], seconds: list[float], end_s: float
) -> tuple[list[tuple[float, float, int, int]], list[tuple[float, int]]]:
    """Notes (onset, offset, pitch, velocity) and pedal events (time, value) of a sequence of events.

    A key is held while any track holds it, and every note-on strikes it again. A note-off directly after a note-on of
    the same time ends the earlier note, which the note-on has already cut.
    """
    struck: dict[int, tuple[float, int]] = {}
    holders: dict[int, set[tuple[int, int]]] = {}
    cut_s: dict[int, float] = {}
    pedals: dict[tuple[int, int], int] = {}
    notes: list[tuple[float, float, int, int]] = []
    pedal: list[tuple[float, int]] = []
    for (_, kind, source, number, value), now in zip(events, seconds, strict=True):
        if kind == 1:
            pedals[source] = value
            pedal.append((now, max(pedals.values())))
            continue
        if kind == 2:
            if number in struck:
                notes.append((struck[number][0], now, number, struck[number][1]))
                cut_s[number] = now
            struck[number] = (now, value)
            holders.setdefault(number, set()).add(source)
        elif cut_s.get(number) == now:
            del cut_s[number]
            if len(holders[number]) > 1:
                holders[number].discard(source)
        elif number in struck:
            holders[number].discard(source)
            if not holders[number]:
                onset_s, velocity = struck.pop(number)
                notes.append((onset_s, now, number, velocity))
    notes += [(onset_s, end_s, number, velocity) for number, (onset_s, velocity) in struck.items()]
    kept = [note for note in notes if note[1] > note[0] and LOWEST_PITCH <= note[2] <= HIGHEST_PITCH]
    return kept, pedal
