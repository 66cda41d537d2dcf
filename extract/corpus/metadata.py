"""Read MAESTRO v3's CSV: the recordings and the paths of their files. No other file is opened."""

from __future__ import annotations

import csv
import io
import math
import stat
import unicodedata
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from keybed.extract.music.midi import LONGEST_S
from keybed.extract.regular_files import find_file, size_of
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

LONGEST_FIELD = 1_000
"""Characters of the longest name, path or title that is accepted; Linux allows 255 bytes in a file's name."""


class CorpusError(KeybedError):
    """The CSV cannot be used; the message names the file and the line."""


@dataclass(frozen=True)
class Recording:
    """One line of the CSV. `midi` and `audio` are paths inside the corpus's folder; audio is "" where the CSV names none."""

    index: int
    """Number of its line in the CSV, from 0; it is the recording id in every row of the store."""
    composer: str
    title: str
    split: str
    year: str
    midi: str
    audio: str
    duration_s: float


@dataclass(frozen=True)
class Corpus:
    """A folder in MAESTRO v3's layout. `csv_bytes` go into the recipe as a hash.

    Names in the CSV and on the disk may differ in how accents are encoded (Unicode NFC and NFD).
    """

    folder: Path
    csv_path: Path
    csv_bytes: bytes
    recordings: tuple[Recording, ...]

    def midi_path(self, recording: Recording) -> Path:
        """Path of the recording's MIDI file, which may be absent."""
        return find_file(self.folder, recording.midi)

    def audio_path(self, recording: Recording) -> Path:
        """Path of the recording's WAV or FLAC file, which may be absent."""
        return find_file(self.folder, recording.audio)


def read_corpus(path: Path) -> Corpus:
    """Read a corpus from its folder or from the path of its CSV.

    Raises CorpusError for a folder without a CSV, an unreadable CSV, missing columns, and lines with an unknown split, a
    duration that is not a positive number, a path outside the folder, or a MIDI file that another line names.
    """
    csv_path = _find_csv(path)
    try:
        size_of(csv_path)
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
        present = ", ".join(_shortened(column) for column in columns) or "none"
        raise CorpusError(
            f"{csv_path}: no column {', '.join(missing)}; its columns are {present}. Rename or add the missing ones, as in "
            "MAESTRO v3's CSV"
        )
    recordings: list[Recording] = []
    seen: dict[str, int] = {}
    for index, (line_number, line) in enumerate(lines):
        location = f"{csv_path}, line {line_number}"
        if None in line or None in line.values():
            raise CorpusError(f"{location}: {len(columns)} columns in the header, another number in this line")
        recording = _recording(index, line, location)
        name = unicodedata.normalize("NFC", recording.midi)
        if name in seen:
            raise CorpusError(f"{location}: {recording.midi} was already named for recording {seen[name]}")
        seen[name] = index
        recordings.append(recording)
    if not recordings:
        raise CorpusError(f"{csv_path}: no recordings in it")
    return Corpus(csv_path.parent, csv_path, data, tuple(recordings))


def _find_csv(path: Path) -> Path:
    try:
        if not stat.S_ISDIR(path.stat().st_mode):
            size_of(path)
            return path
        entries = sorted(entry.name for entry in path.iterdir())
    except FileNotFoundError as error:
        raise CorpusError(f"{path}: no such folder; give the folder that holds {CSV_NAME}") from error
    except OSError as error:
        raise CorpusError(
            f"{path}: cannot be read ({error.strerror or error}); give the folder that holds {CSV_NAME}"
        ) from error
    if CSV_NAME in entries:
        return path / CSV_NAME
    others = [path / name for name in entries if name.endswith(".csv")]
    if len(others) != 1:
        names = ", ".join(other.name for other in others) or "none"
        raise CorpusError(f"{path}: holds no {CSV_NAME} (CSV files there: {names}); give the path of the CSV itself")
    return others[0]


def _shortened(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:40]}…"


def _recording(index: int, line: dict[str, str], location: str) -> Recording:
    for column in COLUMNS:
        if len(line[column]) > LONGEST_FIELD:
            raise CorpusError(
                f"{location}: {column} has {len(line[column]):,} characters ({_shortened(line[column])!r}); at most "
                f"{LONGEST_FIELD:,} are accepted"
            )
    split = line["split"].strip()
    if split not in SPLITS:
        raise CorpusError(f"{location}: split {split!r}; MAESTRO's are {', '.join(SPLITS)}")
    try:
        duration_s = float(line["duration"])
    except ValueError as error:
        raise CorpusError(f"{location}: duration {line['duration']!r} is not a number of seconds") from error
    if not (math.isfinite(duration_s) and duration_s > 0):
        raise CorpusError(f"{location}: duration {line['duration']!r} is not a positive number of seconds")
    if duration_s > LONGEST_S:
        raise CorpusError(
            f"{location}: duration {line['duration']} s is more than a day ({LONGEST_S:,.0f} s); give it in seconds"
        )
    if not line["midi_filename"].strip():
        raise CorpusError(f"{location}: no midi_filename")
    return Recording(
        index=index,
        composer=line["canonical_composer"].strip(),
        title=line["canonical_title"].strip(),
        split=split,
        year=line["year"].strip(),
        midi=safe_relative(line["midi_filename"], location),
        audio=safe_relative(line["audio_filename"], location) if line["audio_filename"].strip() else "",
        duration_s=duration_s,
    )


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
