"""Notes files: one recording's notes and pedal as .npz, written by `keybed plan` and read by extraction."""

from __future__ import annotations

import hashlib
import io
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


def load_notes(path: str | Path, sha256: str | None = None) -> Performance:
    """Read one recording's notes. sha256: what the bytes read must have. Raises MidiError where the file is damaged."""
    arrays = _arrays(path, sha256)
    return Performance(**{name: arrays[name] for name in Performance.__dataclass_fields__})


def midi_sha256(path: str | Path) -> str:
    """The sha256 of the MIDI file that the notes came from. Raises MidiError where the notes file is damaged."""
    return _arrays(path)["midi_sha256"].tobytes().decode()


def _arrays(path: str | Path, sha256: str | None = None) -> dict[str, NDArray[Any]]:
    try:
        data = Path(path).read_bytes()
        if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
            raise ValueError("it is not the file that was planned: its sha256 differs")
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            return {name: archive[name] for name in (*Performance.__dataclass_fields__, "midi_sha256")}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, NotImplementedError) as error:
        raise MidiError(
            f"{path}: damaged notes file ({error}); copy it from a good copy of the store, or from a new store planned with "
            "the same command"
        ) from error
