"""A performance as a MIDI file: one tempo, one track of piano, the same bytes for the same notes."""

from __future__ import annotations

import io
from pathlib import Path

from keybed.extract.music.performance import Performance

TEMPO_US = 500_000


def midi_bytes(performance: Performance, *, ticks_per_beat: int = 480, shift_s: float = 0.0) -> bytes:
    """A type 1 file at 120 bpm. Every time is moved by shift_s, and what still lies before 0 is set to 0."""
    import mido

    ticks_per_s = ticks_per_beat * 1e6 / TEMPO_US

    def tick(second: float) -> int:
        return max(0, round((second + shift_s) * ticks_per_s))

    events: list[tuple[int, int, int, mido.Message]] = []
    columns = (performance.onset_s, performance.offset_s, performance.pitch, performance.velocity)
    for on, off, pitch, velocity in zip(*(column.tolist() for column in columns), strict=True):
        start = tick(on)
        events.append((start, 2, pitch, mido.Message("note_on", note=pitch, velocity=velocity)))
        events.append((max(tick(off), start + 1), 0, pitch, mido.Message("note_off", note=pitch, velocity=64)))
    for second, value in zip(performance.pedal_s.tolist(), performance.pedal_value.tolist(), strict=True):
        events.append((tick(second), 1, 0, mido.Message("control_change", control=64, value=value)))
    events.sort(key=lambda event: event[:3])
    head = mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=TEMPO_US), mido.MetaMessage("end_of_track", time=1)])
    notes = mido.MidiTrack([mido.Message("program_change", program=0)])
    now = 0
    for at, _, _, message in events:
        notes.append(message.copy(time=at - now))
        now = at
    notes.append(mido.MetaMessage("end_of_track", time=1))
    file = mido.MidiFile(type=1, ticks_per_beat=ticks_per_beat, tracks=[head, notes])
    written = io.BytesIO()
    file.save(file=written)
    return written.getvalue()


def write_midi(path: Path, performance: Performance, *, ticks_per_beat: int = 480) -> None:
    """Write `midi_bytes` to a file."""
    path.write_bytes(midi_bytes(performance, ticks_per_beat=ticks_per_beat))
