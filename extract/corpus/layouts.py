"""Read music as a corpus: a CSV in MAESTRO's or other columns, a folder of MIDI files, ASAP's layout, PercePiano's."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from keybed.extract.corpus.csv_corpus import read_csv_corpus
from keybed.extract.corpus.csv_table import read_table
from keybed.extract.corpus.metadata import Corpus, CorpusError
from keybed.extract.corpus.midi_folder import MIDI_ENDINGS, PieceFrom, read_midi_folder
from keybed.extract.corpus.percepiano import is_percepiano, read_percepiano
from keybed.extract.regular_files import size_of

MAESTRO_CSV = "maestro-v3.0.0.csv"
ASAP_CSV = "metadata.csv"
ASAP_COLUMNS = ("composer", "title", "folder", "midi_performance", "audio_performance")
"""Of ASAP's metadata.csv, which has more."""
_ASAP_FIELDS = {"midi": "midi_performance", "audio": "audio_performance", "composer": "composer", "title": "title"}


@dataclass(frozen=True)
class Reading:
    """How to read a folder, where that was asked for. columns: field -> column of the CSV. not_listing: a CSV of labels."""

    layout: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    piece_from: PieceFrom | None = None
    not_listing: Path | None = None


def read_corpus(path: Path, reading: Reading = Reading()) -> Corpus:
    """Read a corpus from its folder or from the path of its CSV.

    Without a layout: MAESTRO's CSV where it is there, then ASAP's metadata.csv, then PercePiano's folders, then the only CSV,
    then the MIDI files themselves. Raises CorpusError for a folder that is none of these, and what its reader raises.
    """
    is_folder, entries = _listed(path)
    layout = reading.layout or _detected(path, is_folder, entries, reading)
    if layout in ("folder", "percepiano") and not is_folder:
        raise CorpusError(f"{path} is a file; the layout {layout} is a folder")
    if reading.columns and layout != "csv":
        raise CorpusError(f"--columns maps the columns of a CSV; {path} is read in the layout {layout}")
    if reading.piece_from and layout != "folder":
        raise CorpusError(f"--pieces is for a folder of MIDI files; {path} is read in the layout {layout}")
    if layout == "folder":
        return read_midi_folder(path, reading.piece_from)
    if layout == "percepiano":
        return read_percepiano(path)
    if layout == "asap":
        return read_csv_corpus(path / ASAP_CSV if is_folder else path, _ASAP_FIELDS, layout="asap", blank_midi=True)
    return read_csv_corpus(_csv_in(path, entries, reading) if is_folder else path, reading.columns)


def _listed(path: Path) -> tuple[bool, list[str]]:
    """Whether the path is a folder, and what lies in it."""
    try:
        if not stat.S_ISDIR(path.stat().st_mode):
            size_of(path)
            return False, []
        return True, sorted(entry.name for entry in path.iterdir())
    except FileNotFoundError as error:
        raise CorpusError(f"{path}: no such folder; give the folder that holds {MAESTRO_CSV} or your music") from error
    except OSError as error:
        raise CorpusError(
            f"{path}: cannot be read ({error.strerror or error}); give the folder that holds {MAESTRO_CSV} or your music"
        ) from error


def _detected(path: Path, is_folder: bool, entries: list[str], reading: Reading) -> str:
    if not is_folder:
        return "asap" if path.name == ASAP_CSV and not reading.columns and _is_asap(path) else "csv"
    if MAESTRO_CSV in entries or reading.columns:
        return "csv"
    if ASAP_CSV in entries and _is_asap(path / ASAP_CSV):
        return "asap"
    if is_percepiano(path):
        return "percepiano"
    return "csv" if _tables(path, entries, reading) else "folder"


def _is_asap(path: Path) -> bool:
    try:
        columns = read_table(path).columns
    except CorpusError:
        return False
    return set(ASAP_COLUMNS) <= set(columns)


def _tables(path: Path, entries: list[str], reading: Reading) -> list[Path]:
    excluded = None if reading.not_listing is None else reading.not_listing.absolute()
    return [path / name for name in entries if name.endswith(".csv") and (path / name).absolute() != excluded]


def _csv_in(path: Path, entries: list[str], reading: Reading) -> Path:
    if MAESTRO_CSV in entries:
        return path / MAESTRO_CSV
    found = _tables(path, entries, reading)
    if len(found) != 1:
        names = ", ".join(table.name for table in found) or "none"
        midi = any(entry.lower().endswith(MIDI_ENDINGS) for entry in entries)
        other = ", or --layout folder to read the MIDI files by themselves" if midi else ""
        raise CorpusError(
            f"{path}: holds no {MAESTRO_CSV} (CSV files there: {names}); give the path of the CSV itself{other}"
        )
    return found[0]
