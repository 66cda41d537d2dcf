"""MAESTRO v3's metadata: which recordings there are, and where their files lie. Reads the CSV, opens nothing else."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from keybed.store.errors import KeybedError
from keybed.store.format.vocabulary import SPLITS

CSV_NAME = "maestro-v3.0.0.csv"
COLUMNS = (
    "canonical_composer",
    "canonical_title",
    "split",
    "year",
    "midi_filename",
    "audio_filename",
    "duration",
)


class CorpusError(KeybedError):
    """The corpus's metadata cannot be used as it stands; the message names the file and the line."""


@dataclass(frozen=True)
class Recording:
    """One line of the CSV. `midi` and `audio` are paths inside the corpus's folder; audio is "" where none is named."""

    index: int
    """Its place in the CSV, counted from 0: the id that every row of the store carries."""
    composer: str
    title: str
    split: str
    year: str
    midi: str
    audio: str
    duration_s: float


@dataclass(frozen=True)
class Corpus:
    """A folder in MAESTRO v3's layout. `csv_bytes` are kept because they are part of the recipe's hash."""

    folder: Path
    csv_path: Path
    csv_bytes: bytes
    recordings: tuple[Recording, ...]

    def midi_path(self, recording: Recording) -> Path:
        """Where the recording's MIDI should lie; it may be absent."""
        return self.folder / recording.midi

    def audio_path(self, recording: Recording) -> Path:
        """Where the recording's WAV or FLAC should lie; it may be absent."""
        return self.folder / recording.audio


def read_corpus(path: Path) -> Corpus:
    """Read a corpus from its folder, or from its CSV alone (whose folder is then the corpus's).

    Raises CorpusError for a folder without a CSV, one that cannot be read, missing columns, and any line that cannot be
    meant: an unknown split, a duration that is not a positive number, a path that leaves the folder, a MIDI named twice.
    """
    csv_path = _find_csv(path)
    try:
        data = csv_path.read_bytes()
    except OSError as error:
        raise CorpusError(f"{csv_path}: cannot be read ({error.strerror or error})") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"{csv_path}: not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8"
        ) from error
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        columns, lines = reader.fieldnames or (), [(reader.line_num, line) for line in reader]
    except csv.Error as error:
        raise CorpusError(
            f"{csv_path}, after line {reader.line_num}: not CSV as MAESTRO writes it ({error})"
        ) from error
    missing = [column for column in COLUMNS if column not in columns]
    if missing:
        raise CorpusError(
            f"{csv_path}: no column {', '.join(missing)}; MAESTRO v3's CSV has {', '.join(COLUMNS)}. "
            "MAESTRO v1 and v2 and other corpora must be brought into this layout first"
        )
    recordings: list[Recording] = []
    seen: dict[str, int] = {}
    for index, (line_number, line) in enumerate(lines):
        where = f"{csv_path}, line {line_number}"
        if None in line or None in line.values():
            raise CorpusError(f"{where}: {len(columns)} columns in the header, another number in this line")
        recording = _recording(index, line, where)
        if recording.midi in seen:
            raise CorpusError(f"{where}: {recording.midi} was already named for recording {seen[recording.midi]}")
        seen[recording.midi] = index
        recordings.append(recording)
    if not recordings:
        raise CorpusError(f"{csv_path}: no recordings in it")
    return Corpus(csv_path.parent, csv_path, data, tuple(recordings))


def _find_csv(path: Path) -> Path:
    if path.is_file():
        return path
    if not path.is_dir():
        raise CorpusError(f"{path}: no such folder; give the folder that holds {CSV_NAME}")
    if (path / CSV_NAME).is_file():
        return path / CSV_NAME
    others = sorted(path.glob("*.csv"))
    if len(others) != 1:
        found = ", ".join(other.name for other in others) or "none"
        raise CorpusError(f"{path}: holds no {CSV_NAME} (CSV files there: {found}); give the CSV's own path")
    return others[0]


def _recording(index: int, line: dict[str, str], where: str) -> Recording:
    split = line["split"].strip()
    if split not in SPLITS:
        raise CorpusError(f"{where}: split {split!r}; MAESTRO's are {', '.join(SPLITS)}")
    try:
        duration_s = float(line["duration"])
    except ValueError as error:
        raise CorpusError(f"{where}: duration {line['duration']!r} is not a number of seconds") from error
    if not (math.isfinite(duration_s) and duration_s > 0):
        raise CorpusError(f"{where}: duration {line['duration']!r} is not a positive number of seconds")
    if not line["midi_filename"].strip():
        raise CorpusError(f"{where}: no midi_filename")
    return Recording(
        index=index,
        composer=line["canonical_composer"].strip(),
        title=line["canonical_title"].strip(),
        split=split,
        year=line["year"].strip(),
        midi=safe_relative(line["midi_filename"], where),
        audio=safe_relative(line["audio_filename"], where) if line["audio_filename"].strip() else "",
        duration_s=duration_s,
    )


def safe_relative(name: str, where: str) -> str:
    """The name as a path inside its folder; CorpusError for an absolute path, "..", a drive or a control character."""
    name = name.strip()
    path = PurePosixPath(name)
    drive = len(name) > 1 and name[1] == ":"
    if path.is_absolute() or ".." in path.parts or "\\" in name or drive or any(ord(c) < 32 for c in name):
        raise CorpusError(f"{where}: {name!r} leaves the corpus's folder; names must be plain relative paths")
    return path.as_posix()
