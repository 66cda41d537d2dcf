"""What is given to be scored, as notes with or without sound: MIDI files, sound files, pretty_midi objects, waveforms."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.scoring.errors import CannotScore
from keybed.extract.music.midi import MidiError, PianoReading, parse_piano
from keybed.extract.music.midi_file import read_bytes
from keybed.extract.music.performance import Performance
from keybed.extract.regular_files import size_of

MIDI_SUFFIXES = (".mid", ".midi")
SOUND_SUFFIXES = (".wav", ".flac", ".aif", ".aiff", ".ogg", ".mp3")
SHORTER_S = 2.0
"""Sound may end this much before the last note does."""
LONGER_S, LONGER_SHARE = 10.0, 0.1
"""Sound may go on after the last note for this long, or for this share of the notes' duration where that is more."""

Transcribe = Callable[[Path], Performance]
"""A sound file to its notes. Raises KeybedError where it cannot."""


@dataclass(frozen=True, eq=False)
class Source:
    """One recording. sound: its sound file; None where it is rendered. duration_s: of the notes, or of a shorter sound."""

    name: str
    path: Path | None
    sound: Path | None
    notes_from: Literal["midi", "transcription"]
    performance: Performance
    duration_s: float
    midi_sha256: str | None = None
    remarks: tuple[str, ...] = ()

    @property
    def sha256(self) -> str:
        """Of the notes and the pedal, as they were read."""
        digest = hashlib.sha256()
        for name in Performance.__dataclass_fields__:
            digest.update(np.ascontiguousarray(getattr(self.performance, name)).tobytes())
        return digest.hexdigest()


def read_source(path: Path, sound: Path | None, *, recorded: bool, transcribe: Transcribe) -> Source:
    """A file to be scored. sound: what was given with it.

    recorded: whether the model heard recorded sound in training; the sound of the same stem beside a MIDI file is then taken.
    A sound file takes the MIDI file of the same stem beside it, or is transcribed. Raises CannotScore, MidiError.
    """
    suffix = path.suffix.lower()
    if not path.exists():
        raise CannotScore(f"{path}: no such file")
    if suffix in SOUND_SUFFIXES:
        if sound is not None:
            raise CannotScore(f"{path} is a sound file itself; give the MIDI file with --audio {path}")
        midi = _beside(path, MIDI_SUFFIXES)
        if midi is None:
            duration_s = sound_duration_s(path)
            return _made(path.name, path, path, "transcription", transcribe(path), duration_s)
        return _with_midi(path, midi, path)
    if sound is None and recorded:
        sound = _beside(path, SOUND_SUFFIXES)
        if sound is None:
            raise CannotScore(
                f"{path}: this model heard recorded sound in training, and there is none of the same name beside the MIDI "
                "file; give it with --audio FILE"
            )
    return _with_midi(path, path, sound)


def of_pretty_midi(midi: Any, sound: Path | None) -> Source:
    """A `pretty_midi.PrettyMIDI`, read as its file would be."""
    data = io.BytesIO()
    midi.write(data)
    return _of_bytes("PrettyMIDI", None, data.getvalue(), sound)


def of_waveform(sound: Path, transcribe: Transcribe) -> Source:
    """A waveform's file, whose notes are transcribed."""
    return _made("waveform", None, sound, "transcription", transcribe(sound), sound_duration_s(sound))


def waveform_file(waveform: NDArray[np.floating], rate_hz: int | None, folder: Path) -> Path:
    """A waveform (samples,) or (samples, channels) as a WAV file of 32-bit floats. Raises CannotScore for another shape."""
    import soundfile

    if rate_hz is None or rate_hz <= 0:
        raise CannotScore("a waveform needs its sample_rate_hz")
    if waveform.ndim not in (1, 2) or waveform.size == 0 or not np.isfinite(waveform).all():
        raise CannotScore(
            f"a waveform of shape {waveform.shape}: give finite samples (samples,) or (samples, channels)"
        )
    path = folder / "waveform.wav"
    soundfile.write(path, np.asarray(waveform, np.float32), rate_hz, subtype="FLOAT")
    return path


def sound_duration_s(path: Path) -> float:
    """Seconds of a sound file. Raises CannotScore where it cannot be read."""
    import soundfile

    try:
        size_of(path)
        info = soundfile.info(path)
    except soundfile.LibsndfileError as error:
        raise CannotScore(f"{path}: {error.error_string.rstrip('.')}; give a WAV or FLAC file") from error
    except OSError as error:
        raise CannotScore(f"{path}: {error.strerror or error}") from error
    if not info.frames:
        raise CannotScore(f"{path}: holds no sound")
    return float(info.frames / info.samplerate)


def _with_midi(shown: Path, midi: Path, sound: Path | None) -> Source:
    return _of_bytes(shown.name, shown, read_bytes(midi), sound, midi)


def _of_bytes(name: str, path: Path | None, data: bytes, sound: Path | None, midi: Path | None = None) -> Source:
    try:
        reading: PianoReading = parse_piano(data, midi or name)
    except MidiError as error:
        if data[:4] == b"MThd" or midi is None:
            raise
        raise CannotScore(f"{midi}: neither a MIDI file nor a sound file ({', '.join(SOUND_SUFFIXES)})") from error
    left_out = reading.left_out_in_words()
    p = reading.performance
    duration_s = end_s = float(p.offset_s.max())
    if sound is not None:
        sound_s = sound_duration_s(sound)
        if sound_s < end_s - SHORTER_S or sound_s > end_s + max(LONGER_S, LONGER_SHARE * end_s):
            raise CannotScore(
                f"{midi or name} lasts {end_s:.1f} s and {sound} {sound_s:.1f} s: they are not of one performance, or one of "
                "them is cut"
            )
        duration_s = min(end_s, sound_s)
    remarks = (f"{left_out}.",) if left_out else ()
    return _made(name, path, sound, "midi", p, duration_s, hashlib.sha256(data).hexdigest(), remarks)


def _made(
    name: str,
    path: Path | None,
    sound: Path | None,
    notes_from: Literal["midi", "transcription"],
    performance: Performance,
    duration_s: float,
    midi_sha256: str | None = None,
    remarks: tuple[str, ...] = (),
) -> Source:
    if not performance.n_notes:
        raise CannotScore(f"{name}: no piano note is heard in it")
    return Source(name, path, sound, notes_from, performance, duration_s, midi_sha256, remarks)


def _beside(path: Path, suffixes: tuple[str, ...]) -> Path | None:
    """The file of the same stem with one of these suffixes, in small or capital letters; the first of them."""
    found = {p.suffix.lower(): p for p in sorted(path.parent.iterdir()) if p.stem == path.stem and p != path}
    return next((found[suffix] for suffix in suffixes if suffix in found), None)
