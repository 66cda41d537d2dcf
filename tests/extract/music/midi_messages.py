"""Messages and files of MIDI, and a performance as rows."""

from __future__ import annotations

from pathlib import Path

import mido

from keybed.extract.music.performance import Performance

T = mido.MetaMessage
HEAD = b"MThd\0\0\0\6\0\1\0\1\1\xe0"


def write(path: Path, *tracks: list, ticks: int = 480, kind: int = 1) -> Path:
    file = mido.MidiFile(type=kind, ticks_per_beat=ticks)
    for messages in tracks:
        track = mido.MidiTrack(messages)
        file.tracks.append(track)
    file.save(path)
    return path


def on(note: int, time: int = 0, velocity: int = 80, channel: int = 0) -> mido.Message:
    return mido.Message("note_on", note=note, velocity=velocity, time=time, channel=channel)


def off(note: int, time: int = 0, channel: int = 0) -> mido.Message:
    return mido.Message("note_off", note=note, time=time, channel=channel)


def rows(p: Performance) -> list[tuple]:
    return list(zip(p.onset_s.round(6), p.offset_s.round(6), p.pitch.tolist(), p.velocity.tolist(), strict=True))


def control(number: int, value: int, time: int = 0, channel: int = 0) -> mido.Message:
    return mido.Message("control_change", control=number, value=value, time=time, channel=channel)


def program(number: int, time: int = 0, channel: int = 0) -> mido.Message:
    return mido.Message("program_change", program=number, time=time, channel=channel)
