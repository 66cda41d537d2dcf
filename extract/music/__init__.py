"""Notes, pedal, MIDI files, and measures of them: beats, harmony, loudness trend, difficulty. Nothing is degraded here."""

from keybed.extract.music.midi import MidiError, read_midi
from keybed.extract.music.midi_writer import midi_bytes, write_midi
from keybed.extract.music.notes_file import load_notes, save_notes
from keybed.extract.music.performance import Performance, playable

__all__ = [
    "MidiError",
    "Performance",
    "load_notes",
    "midi_bytes",
    "playable",
    "read_midi",
    "save_notes",
    "write_midi",
]
