"""A corpus: its recordings, the paths of their files, and how it was read. No file is opened here."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from keybed.extract.regular_files import find_file
from keybed.store.errors import KeybedError

LONGEST_FIELD = 1_000
"""Characters of the longest name, path or title that is accepted; Linux allows 255 bytes in a file's name."""


class CorpusError(KeybedError):
    """The music cannot be read as a corpus; the message names the file, and the line of a CSV."""


@dataclass(frozen=True)
class Recording:
    """One performance. `midi` and `audio` are paths inside the corpus's folder; audio is "" where there is no sound file."""

    index: int
    """Its number in the corpus, from 0 (in a CSV that of its line); it is the recording id in every row of the store."""
    composer: str
    title: str
    split: str
    """"" where none is given: its piece's split is drawn."""
    year: str
    midi: str
    audio: str
    duration_s: float | None
    """None until the MIDI file has been measured."""
    piece: str = ""
    """Recordings with the same text here are one piece; "": the titles are read."""
    measured: bool = False
    """Whether the duration is the end of the MIDI file, and no statement of a CSV."""

    @property
    def seconds(self) -> float:
        """The duration; 0 where it is not known (an unreadable MIDI file)."""
        return self.duration_s or 0.0

    @property
    def full_title(self) -> str:
        """`composer: title`, or the title alone."""
        return f"{self.composer}: {self.title}" if self.composer else self.title


@dataclass(frozen=True)
class Corpus:
    """Recordings in a folder. `listing` goes into the recipe as a hash: the bytes of the CSV, or the names of the files.

    Names in a CSV and on the disk may differ in how accents are encoded (Unicode NFC and NFD).
    """

    folder: Path
    listed_in: Path
    """The CSV, or the folder whose files were listed."""
    listing: bytes
    recordings: tuple[Recording, ...]
    reading: dict[str, Any] = field(default_factory=dict)
    """For the recipe: layout and columns, where they are not MAESTRO's own."""
    remarks: tuple[str, ...] = ()
    """How the corpus was read, in words, where something was guessed or mapped."""
    left_out: tuple[str, ...] = ()
    """Files and lines that belong to no recording, one each."""
    unreadable: tuple[str, ...] = ()
    """Recordings without a known duration, whose MIDI cannot be read either; they have no rows."""

    def midi_path(self, recording: Recording) -> Path:
        """Path of the recording's MIDI file, which may be absent."""
        return find_file(self.folder, recording.midi)

    def audio_path(self, recording: Recording) -> Path:
        """Path of the recording's WAV or FLAC file, which may be absent."""
        return find_file(self.folder, recording.audio)


def shortened(text: str) -> str:
    """A name for a message, cut after 40 characters."""
    return text if len(text) <= 40 else f"{text[:40]}…"


def safe_relative(name: str, location: str) -> str:
    """The name as a relative path inside the corpus folder.

    CorpusError for an absolute path, "..", a drive letter or a control character.
    """
    name = name.strip()
    path = PurePosixPath(name)
    drive = len(name) > 1 and name[1] == ":"
    if path.is_absolute() or ".." in path.parts or "\\" in name or drive or any(ord(c) < 32 for c in name):
        raise CorpusError(f"{location}: {name!r} leaves the corpus's folder; names must be plain relative paths")
    return path.as_posix()
