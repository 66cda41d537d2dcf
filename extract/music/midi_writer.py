"""Write a performance as a MIDI file: one tempo, one piano track, equal bytes for equal notes."""

from __future__ import annotations

import io
from pathlib import Path

from keybed.extract.music.midi import DEFAULT_TEMPO_US
from keybed.extract.music.pedal import SUSTAIN_CONTROL
from keybed.extract.music.performance import Performance


def midi_bytes(performance: Performance, *, ticks_per_beat: int = 480, shift_s: float = 0.0) -> bytes:
    """A MIDI file of type 1 at 120 bpm. Times are moved by shift_s seconds; those still before 0 are set to 0."""
    import mido

    ticks_per_s = ticks_per_beat * 1e6 / DEFAULT_TEMPO_US

    def tick(second: float) -> int:
        return max(0, round((second + shift_s) * ticks_per_s))

    events: list[tuple[int, int, int, str, dict[str, int]]] = []
    columns = (performance.onset_s, performance.offset_s, performance.pitch, performance.velocity)
    for on, off, pitch, velocity in zip(*(column.tolist() for column in columns), strict=True):
        start = tick(on)
        events.append((start, 2, pitch, "note_on", {"note": pitch, "velocity": velocity}))
        events.append((max(tick(off), start + 1), 0, pitch, "note_off", {"note": pitch, "velocity": 64}))
    for second, value in zip(performance.pedal_s.tolist(), performance.pedal_value.tolist(), strict=True):
        events.append((tick(second), 1, 0, "control_change", {"control": SUSTAIN_CONTROL, "value": value}))
    events.sort(key=lambda event: event[:3])
    head = mido.MidiTrack(
        [mido.MetaMessage("set_tempo", tempo=DEFAULT_TEMPO_US), mido.MetaMessage("end_of_track", time=1)]
    )
    notes = mido.MidiTrack([mido.Message("program_change", program=0)])
    last_tick = 0
    for event_tick, _, _, kind, values in events:
        # Made once, with its time: mido checks a message whenever it is made or copied.
        notes.append(mido.Message(kind, time=event_tick - last_tick, **values))
        last_tick = event_tick
    notes.append(mido.MetaMessage("end_of_track", time=1))
    file = mido.MidiFile(type=1, ticks_per_beat=ticks_per_beat, tracks=[head, notes])
    written = io.BytesIO()
    file.save(file=written)
    return written.getvalue()


def write_midi(path: Path, performance: Performance, *, ticks_per_beat: int = 480) -> None:
    """Write `midi_bytes` to a file."""
    path.write_bytes(midi_bytes(performance, ticks_per_beat=ticks_per_beat))
