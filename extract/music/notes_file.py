"""Notes files: one recording's notes and pedal as .npz, written by `keybed plan` and read by extraction."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keybed.extract.music.midi import MidiError
from keybed.extract.music.performance import Performance


def save_notes(path: str | Path, performance: Performance, midi_sha256: str) -> None:
    """Write one recording's notes and the sha256 of its MIDI file; equal notes give equal bytes (no time stamp)."""
    arrays = {name: getattr(performance, name) for name in Performance.__dataclass_fields__}
    arrays["midi_sha256"] = np.frombuffer(midi_sha256.encode(), np.uint8)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            with archive.open(entry, "w") as file:
                np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)


def load_notes(path: str | Path) -> Performance:
    """Read one recording's notes. Raises MidiError where the file is damaged."""
    arrays = _arrays(path)
    return Performance(**{name: arrays[name] for name in Performance.__dataclass_fields__})


def midi_sha256(path: str | Path) -> str:
    """The sha256 of the MIDI file that the notes came from. Raises MidiError where the notes file is damaged."""
    return _arrays(path)["midi_sha256"].tobytes().decode()


def _arrays(path: str | Path) -> dict[str, NDArray[Any]]:
    try:
        with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in (*Performance.__dataclass_fields__, "midi_sha256")}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise MidiError(f"{path}: damaged notes file ({error}); plan the store again") from error
