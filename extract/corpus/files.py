"""What the files of every recording of a corpus are, without parsing them: hashes of MIDI files, headers of sound files."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from keybed.extract.corpus.metadata import Corpus, Recording
from keybed.extract.music.midi import MidiError
from keybed.extract.music.midi_file import read_bytes
from keybed.extract.progress import Progress
from keybed.extract.regular_files import size_of

ABSENT = "absent"
"""In place of the sha256 of a MIDI file that cannot be read."""
_READERS = 8
"""Threads per core: on a network disk nearly all of the time is waiting."""


@dataclass(frozen=True)
class RecordingFiles:
    """One recording's files. audio: size and header of the sound file; None where it is not wanted or cannot be read."""

    midi_sha256: str
    audio: dict[str, Any] | None = None
    audio_problem: str | None = None


def read_files(corpus: Corpus, *, recorded: bool, progress: Progress) -> tuple[RecordingFiles, ...]:
    """Hash every MIDI file of the corpus, and with `recorded` read the header of every sound file.

    All recordings are read, not only those that a limit leaves: files of equal bytes are one piece wherever they are used,
    and two stores of one corpus have one corpus hash whatever their windows and limits.
    """
    files: list[RecordingFiles] = []
    with ThreadPoolExecutor(_READERS * len(os.sched_getaffinity(0))) as readers:
        for one in readers.map(partial(_read, corpus, recorded), corpus.recordings):
            files.append(one)
            progress("hashing MIDI", len(files), len(corpus.recordings))
    return tuple(files)


def _read(corpus: Corpus, recorded: bool, recording: Recording) -> RecordingFiles:
    try:
        sha256 = hashlib.sha256(read_bytes(corpus.midi_path(recording))).hexdigest()
    except MidiError:  # the reason becomes the problem of the recording when the file is parsed
        sha256 = ABSENT
    return RecordingFiles(sha256, *(_audio(corpus, recording) if recorded else ()))


def _audio(corpus: Corpus, recording: Recording) -> tuple[dict[str, Any] | None, str | None]:
    """Size and header of the recording's sound file, or the problem with it. Extraction hashes the samples later."""
    import soundfile

    if not recording.audio:
        return None, f"{recording.midi}: no sound file is named for it, and none of its name lies beside it"
    path = corpus.audio_path(recording)
    try:
        size = size_of(path)
        info = soundfile.info(path)
    except FileNotFoundError:
        return None, f"{recording.audio}: no such file"
    except OSError as error:
        return None, f"{recording.audio}: {error.strerror or error}"
    except soundfile.LibsndfileError as error:
        return None, f"{recording.audio}: {error.error_string}"
    header = {
        "bytes": size,
        "frames": info.frames,
        "sample_rate_hz": info.samplerate,
        "channels": info.channels,
        "subtype": info.subtype,
    }
    return header, None
