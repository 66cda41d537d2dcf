"""MIDI files in, clean notes and pedal out, and the small file each recording's notes are kept in.

A piano recording is what is left of a MIDI file when drums, other instruments, keys that a piano lacks and notes
without length are taken away and all tracks are played on one keyboard with one pedal.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from extract.performance import HIGHEST_PITCH, LOWEST_PITCH, Performance
from store.errors import KeybedError

if TYPE_CHECKING:
    import mido

PIANO_PROGRAMS = range(8)
"""General MIDI's piano family; notes of other programs are left out."""
DRUM_CHANNEL = 9
SUSTAIN_CONTROL = 64
_DEFAULT_TEMPO_US = 500_000


class MidiError(KeybedError):
    """A file that holds no piano performance that can be read; the message names the file and the reason."""


def read_midi(path: str | Path) -> Performance:
    """Read a whole recording: all tracks merged on one keyboard, tempo changes resolved, same-pitch overlaps cut.

    Drums, programs outside the piano family, pitches outside 21..108 and notes without length are left out; a note that
    is never released ends with the file. Raises MidiError where the file cannot be read or no note is left.
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
    return tidy(
        onset,
        offset,
        pitch,
        velocity,
        np.array([t for t, _ in pedal], np.float64),
        np.array([v for _, v in pedal], np.int16),
    )


def _why_unreadable(path: Path, error: Exception) -> str:
    """What mido ran into, in words that tell what to do: a bare EOFError says nothing to a person."""
    try:
        with path.open("rb") as file:
            head = file.read(4)
    except OSError as trouble:
        return trouble.strerror or str(trouble)
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
    """Ticks to seconds through all tempo changes."""
    ticks, tempo = [0], [_DEFAULT_TEMPO_US]
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
    """Press and release keys in order. A key is held while any track holds it, and struck anew by every note-on.

    A note-off that comes just after a note-on of the same moment belongs to the note that the note-on cut short.
    """
    struck: dict[int, tuple[float, int]] = {}
    holders: dict[int, set[tuple[int, int]]] = {}
    cut_s: dict[int, float] = {}
    feet: dict[tuple[int, int], int] = {}
    notes: list[tuple[float, float, int, int]] = []
    pedal: list[tuple[float, int]] = []
    for (_, kind, source, number, value), now in zip(events, seconds, strict=True):
        if kind == 1:
            feet[source] = value
            pedal.append((now, max(feet.values())))
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
                began, velocity = struck.pop(number)
                notes.append((began, now, number, velocity))
    notes += [(began, end_s, number, velocity) for number, (began, velocity) in struck.items()]
    kept = [note for note in notes if note[1] > note[0] and LOWEST_PITCH <= note[2] <= HIGHEST_PITCH]
    return kept, pedal


def tidy(
    onset_s: NDArray[Any],
    offset_s: NDArray[Any],
    pitch: NDArray[Any],
    velocity: NDArray[Any],
    pedal_s: NDArray[Any],
    pedal_value: NDArray[Any],
) -> Performance:
    """Make any notes playable on one keyboard: sorted, in range, no key struck while it is down.

    Of notes that strike one key at one moment the loudest stays; a note that is still held when its key is struck
    again ends there. Pedal events are sorted; of several at one moment the last stays.
    """
    keep = offset_s > onset_s
    order = np.lexsort((-velocity[keep], onset_s[keep], pitch[keep]))
    on, off = onset_s[keep][order].astype(np.float64), offset_s[keep][order].astype(np.float64)
    key, vel = pitch[keep][order], velocity[keep][order]
    first = np.ones(on.size, bool)
    first[1:] = (key[1:] != key[:-1]) | (on[1:] > on[:-1])
    on, off, key, vel = on[first], off[first], key[first], vel[first]
    same = key[1:] == key[:-1]
    off[:-1] = np.where(same, np.minimum(off[:-1], on[1:]), off[:-1])
    by_time = np.lexsort((key, on))
    when = np.argsort(pedal_s, kind="stable")
    foot_s, foot = pedal_s[when].astype(np.float64), pedal_value[when]
    last = np.ones(foot_s.size, bool)
    last[:-1] = foot_s[1:] > foot_s[:-1]
    return Performance(
        onset_s=on[by_time],
        offset_s=off[by_time],
        pitch=np.clip(key[by_time], LOWEST_PITCH, HIGHEST_PITCH).astype(np.int16),
        velocity=np.clip(vel[by_time], 1, 127).astype(np.int16),
        pedal_s=foot_s[last],
        pedal_value=np.clip(foot[last], 0, 127).astype(np.int16),
    )


def problems(performance: Performance) -> Iterator[str]:
    """Whatever is wrong with these notes, in words; nothing for a performance that one keyboard can play."""
    p = performance
    if p.n_notes and not np.isfinite([p.onset_s, p.offset_s]).all():
        yield "a time is not finite"
    if (p.offset_s <= p.onset_s).any():
        yield "a note ends before it begins"
    if ((p.pitch < LOWEST_PITCH) | (p.pitch > HIGHEST_PITCH)).any():
        yield "a pitch is not on the keyboard"
    if ((p.velocity < 1) | (p.velocity > 127)).any():
        yield "a velocity is outside 1..127"
    if not np.array_equal(np.lexsort((p.pitch, p.onset_s)), np.arange(p.n_notes)):
        yield "the notes are not sorted by (onset, pitch)"
    order = np.lexsort((p.onset_s, p.pitch))
    same = p.pitch[order][1:] == p.pitch[order][:-1]
    if (same & (p.onset_s[order][1:] < p.offset_s[order][:-1])).any():
        yield "a key is struck while it is down"
    if (np.diff(p.pedal_s) <= 0).any():
        yield "the pedal events are not sorted"
    if ((p.pedal_value < 0) | (p.pedal_value > 127)).any():
        yield "a pedal value is outside 0..127"


def save_notes(path: str | Path, performance: Performance, midi_sha256: str) -> None:
    """Write one recording's notes; equal notes give equal bytes (no time stamp in the archive)."""
    arrays = {name: getattr(performance, name) for name in Performance.__dataclass_fields__}
    arrays["midi_sha256"] = np.frombuffer(midi_sha256.encode(), np.uint8)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            with archive.open(entry, "w") as file:
                np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)


def load_notes(path: str | Path) -> Performance:
    """Inverse of `save_notes`; raises MidiError where the file is damaged."""
    arrays = _arrays(path)
    return Performance(**{name: arrays[name] for name in Performance.__dataclass_fields__})


def midi_sha256(path: str | Path) -> str:
    """The hash of the MIDI file that a notes file was read from; raises MidiError where the file is damaged."""
    return _arrays(path)["midi_sha256"].tobytes().decode()


def _arrays(path: str | Path) -> dict[str, NDArray[Any]]:
    try:
        with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in (*Performance.__dataclass_fields__, "midi_sha256")}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise MidiError(f"{path}: damaged notes file ({error}); plan the store again") from error
