"""Read MIDI files as piano notes and pedal.

All tracks are merged on one keyboard with one pedal. Drums, other instruments with their pedals, pitches outside the
piano and notes without length are left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from keybed.extract.music.midi_file import Message, MidiError, MidiTracks, parse_tracks, read_bytes
from keybed.extract.music.pedal import SUSTAIN_CONTROL
from keybed.extract.music.performance import HIGHEST_PITCH, LOWEST_PITCH, Performance, playable

__all__ = [
    "DEFAULT_TEMPO_US",
    "LONGEST_S",
    "READING_VERSION",
    "MidiError",
    "PianoReading",
    "parse_piano",
    "read_midi",
]

READING_VERSION = 2
"""Part of the recipe; raise it whenever a MIDI file could give other notes or another pedal."""
PIANO_PROGRAMS = range(8)
"""General MIDI's piano family; notes of other programs are left out."""
DRUM_CHANNEL = 9
DEFAULT_TEMPO_US = 500_000
"""Microseconds per beat until a file sets its tempo (120 bpm)."""
LONGEST_S = 86_400.0
"""A recording that lasts longer than a day is refused: its times are damaged, and arrays over its length would not fit."""

RESET_CONTROLLERS = 121
NOTES_OFF_CONTROLS = (120, 123, 124, 125, 126, 127)
"""All sound off, all notes off, and the mode messages, which mean all notes off as well (MIDI 1.0, channel mode messages)."""

CHANNEL_10, OTHER_INSTRUMENTS, NO_PIANO_KEYS = (
    "on channel 10 (drums)",
    "of other instruments",
    f"outside the piano's keys {LOWEST_PITCH} to {HIGHEST_PITCH}",
)
"""Why notes are left out."""


@dataclass(frozen=True, eq=False)
class PianoReading:
    """The piano of a MIDI file, and how many of its notes were left out, by reason."""

    performance: Performance
    left_out: Mapping[str, int]

    def left_out_in_words(self) -> str:
        """Such as `60 of 180 notes are left out: 60 on channel 10 (drums)`; empty where none is."""
        n_left_out = sum(self.left_out.values())
        if not n_left_out:
            return ""
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in self.left_out.items())
        total = n_left_out + self.performance.n_notes
        return f"{n_left_out:,} of {total:,} notes are left out: {reasons}"


def read_midi(path: str | Path) -> Performance:
    """Read a whole recording: tempo changes resolved, overlapping notes of one pitch cut.

    A note that is never released ends with the file. Raises MidiError where the file cannot be read or no note is left.
    """
    return parse_piano(read_bytes(Path(path)), path).performance


def parse_piano(data: bytes, name: str | Path) -> PianoReading:
    """The piano in the bytes of a MIDI file. name: for messages. Raises MidiError as `read_midi` does."""
    tracks = parse_tracks(data, name)
    second_of = _clock(tracks, name)
    left_out: Counter[str] = Counter()
    events = _events(tracks, left_out)
    seconds = second_of(np.array([event[0] for event in events], np.int64))
    end_s = float(second_of(np.array([tracks.end_tick]))[0])
    notes, pedal = _play(events, seconds.tolist(), end_s, left_out)
    if not notes:
        without = "".join(f"; {count:,} notes {reason}" for reason, count in left_out.items())
        raise MidiError(f"{name}: no piano note in it{without}")
    onset, offset, pitch, velocity = (np.array(column) for column in zip(*notes, strict=True))
    performance = playable(
        onset,
        offset,
        pitch,
        velocity,
        np.array([t for t, _ in pedal], np.float64),
        np.array([v for _, v in pedal], np.int16),
    )
    last_s = max([float(offset.max()), *(t for t, _ in pedal[-1:])])
    if last_s > LONGEST_S:
        raise MidiError(
            f"{name}: lasts {last_s:,.0f} s, longer than a day ({LONGEST_S:,.0f} s); its tempo or its times are damaged"
        )
    return PianoReading(performance, dict(left_out))


_OFF, _PEDAL, _ON, _ALL_OFF = range(4)
_Source = tuple[int, int]
"""Track and channel."""
_Event = tuple[int, int, _Source, int, int]
"""Tick, kind, source, key (0 for pedal and all notes off), velocity or pedal value."""


def _events(tracks: MidiTracks, left_out: Counter[str]) -> list[_Event]:
    """The piano's events of all tracks by time; counts the notes of drums and other instruments in `left_out`."""
    events: list[_Event] = []
    not_piano: set[int] = set()
    for index, messages in enumerate(tracks.tracks):
        not_piano |= _Channels(index, events, left_out).take(messages)
    # A track of controllers alone says no program: its pedal belongs to the notes of its channel in other tracks.
    not_piano -= {channel for _, kind, (_, channel), _, _ in events if kind == _ON}
    events = [event for event in events if event[1] != _PEDAL or event[2][1] not in not_piano]
    events.sort(key=itemgetter(0))
    return events


class _Channels:
    """The sixteen channels of one track: which of them are pianos, and what each piano does."""

    def __init__(self, track: int, events: list[_Event], left_out: Counter[str]) -> None:
        self._track, self._events, self._left_out = track, events, left_out
        self._is_piano = [channel != DRUM_CHANNEL for channel in range(16)]
        self._pedal = [0] * 16
        self._left_out_keys: set[tuple[int, int]] = set()

    def take(self, messages: Sequence[Message]) -> set[int]:
        """Append the events of all messages. Returns the channels with notes of other instruments."""
        not_piano = set()
        for tick, status, first, second in messages:
            kind, channel = status & 0xF0, status & 0x0F
            if kind == 0x90 and second > 0:
                self._strike(tick, channel, first, second)
                if not self._is_piano[channel]:
                    not_piano.add(channel)
            elif kind in (0x80, 0x90):
                self._release(tick, channel, first)
            elif kind == 0xB0 and self._is_piano[channel]:
                self._control(tick, channel, first, second)
            elif kind == 0xC0 and channel != DRUM_CHANNEL:
                self._is_piano[channel] = first in PIANO_PROGRAMS
                if not self._is_piano[channel]:
                    self._lift(tick, channel)
        return not_piano

    def _strike(self, tick: int, channel: int, key: int, velocity: int) -> None:
        if self._is_piano[channel]:
            self._left_out_keys.discard((channel, key))
            self._events.append((tick, _ON, (self._track, channel), key, velocity))
        else:
            self._left_out_keys.add((channel, key))
            self._left_out[CHANNEL_10 if channel == DRUM_CHANNEL else OTHER_INSTRUMENTS] += 1

    def _release(self, tick: int, channel: int, key: int) -> None:
        """A note-off belongs to the note that it ends, whatever program the channel has by then."""
        if (channel, key) in self._left_out_keys:
            self._left_out_keys.discard((channel, key))
        else:
            self._events.append((tick, _OFF, (self._track, channel), key, 0))

    def _control(self, tick: int, channel: int, control: int, value: int) -> None:
        if control == SUSTAIN_CONTROL:
            self._pedal[channel] = value
            self._events.append((tick, _PEDAL, (self._track, channel), 0, value))
        elif control == RESET_CONTROLLERS:
            self._lift(tick, channel)
        elif control in NOTES_OFF_CONTROLS:
            self._events.append((tick, _ALL_OFF, (self._track, channel), 0, 0))

    def _lift(self, tick: int, channel: int) -> None:
        if self._pedal[channel] > 0:
            self._pedal[channel] = 0
            self._events.append((tick, _PEDAL, (self._track, channel), 0, 0))


def _clock(tracks: MidiTracks, name: str | Path) -> Callable[[NDArray[np.int64]], NDArray[np.float64]]:
    """A function from ticks (int64 array) to seconds, through all tempo changes. Raises MidiError for a tempo of 0."""
    ticks, tempo = [0], [DEFAULT_TEMPO_US]
    for tick, microseconds in tracks.tempi:
        if tick == ticks[-1]:
            tempo[-1] = microseconds
        else:
            ticks.append(tick)
            tempo.append(microseconds)
    if 0 in tempo:
        raise MidiError(
            f"{name}: a tempo of 0 microseconds per beat at tick {ticks[tempo.index(0)]}, so that the times after it mean "
            "nothing; correct or remove that tempo event"
        )
    knots = np.array(ticks, np.int64)
    second_per_tick = np.array(tempo, np.float64) / (1e6 * tracks.ticks_per_beat)
    knots_s = np.concatenate([[0.0], np.cumsum(np.diff(knots) * second_per_tick[:-1])])

    def second_of(tick: NDArray[np.int64]) -> NDArray[np.float64]:
        piece = np.searchsorted(knots, tick, side="right") - 1
        return np.asarray(knots_s[piece] + (tick - knots[piece]) * second_per_tick[piece])

    return second_of


def _play(
    events: Sequence[_Event], seconds: Sequence[float], end_s: float, left_out: Counter[str]
) -> tuple[list[tuple[float, float, int, int]], list[tuple[float, int]]]:
    """Notes (onset, offset, pitch, velocity) and pedal events (time, value) of a sequence of events.

    A key is held while any source holds it, and every note-on strikes it again. A note-off directly after a note-on of
    the same time ends the earlier note, which the note-on has already cut; all notes off spares notes of the same time
    alike. Counts notes outside the piano in `left_out`.
    """
    struck: dict[int, tuple[float, int]] = {}
    holders: dict[int, set[_Source]] = {}
    cut_s: dict[int, float] = {}
    pedals: dict[_Source, int] = {}
    notes: list[tuple[float, float, int, int]] = []
    pedal: list[tuple[float, int]] = []

    def let_go(key: int, source: _Source, now: float) -> None:
        holders[key].discard(source)
        if not holders[key]:
            onset_s, velocity = struck.pop(key)
            notes.append((onset_s, now, key, velocity))

    for (_, kind, source, key, value), now in zip(events, seconds, strict=True):
        if kind == _PEDAL:
            pedals[source] = value
            pedal.append((now, max(pedals.values())))
        elif kind == _ON:
            if key in struck:
                notes.append((struck[key][0], now, key, struck[key][1]))
                cut_s[key] = now
            struck[key] = (now, value)
            holders.setdefault(key, set()).add(source)
        elif kind == _ALL_OFF:
            for held in [held for held in struck if source in holders[held] and struck[held][0] < now]:
                let_go(held, source, now)
        elif source not in holders.get(key, ()):
            continue
        elif cut_s.get(key) == now:
            del cut_s[key]
            if len(holders[key]) > 1:
                holders[key].discard(source)
        else:
            let_go(key, source, now)
    notes += [(onset_s, end_s, key, velocity) for key, (onset_s, velocity) in struck.items()]
    sounding = [note for note in notes if note[1] > note[0]]
    kept = [note for note in sounding if LOWEST_PITCH <= note[2] <= HIGHEST_PITCH]
    if len(kept) < len(sounding):
        left_out[NO_PIANO_KEYS] += len(sounding) - len(kept)
    return kept, pedal
