"""Small MIDI files: a scale that ends at a known second."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from keybed.extract.music.midi_writer import midi_bytes
from keybed.extract.music.performance import playable


def scale_file(path: Path, seconds: float, lowest: int = 40) -> Path:
    """Half-second notes, five a second apart in pitch; the last one ends at `seconds`."""
    onset = np.arange(0, seconds - 0.25, 0.5)
    offset = np.minimum(onset + 0.45, seconds)
    offset[-1] = seconds
    pitch = (lowest + np.arange(len(onset)) % 40).astype(np.int16)
    velocity = np.full(len(onset), 70, np.int16)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(midi_bytes(playable(onset, offset, pitch, velocity, np.zeros(0), np.zeros(0, np.int16))))
    return path


def silent_file(path: Path, seconds: float) -> Path:
    soundfile.write(path, np.zeros(round(8000 * seconds)), 8000)
    return path
