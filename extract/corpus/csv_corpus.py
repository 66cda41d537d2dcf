"""A corpus from a CSV: one line per recording, in MAESTRO v3's columns or in others that are mapped to them."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from keybed.extract.corpus import columns as c
from keybed.extract.corpus.csv_table import Line, Table, checked_cell, read_table
from keybed.extract.corpus.metadata import Corpus, CorpusError, Recording, safe_relative
from keybed.extract.corpus.titles import without_once_more
from keybed.extract.music.midi import LONGEST_S
from keybed.store.format.vocabulary import SPLITS

MAESTRO_COLUMNS = tuple(name for name in c.FIELDS if name != c.PIECE)


def read_csv_corpus(path: Path, given: Mapping[str, str], *, layout: str = "csv", blank_midi: bool = False) -> Corpus:
    """Read a CSV's recordings; their files lie in its folder.

    given: field -> column, from --columns. blank_midi: lines without a MIDI file are left out and listed, and no error.
    Raises CorpusError for an unreadable CSV, columns that cannot be mapped, and lines with an unknown split, a duration that
    is not a positive number, a path outside the folder, or a MIDI file that another line names.
    """
    table = read_table(path)
    chosen = c.columns_of(table, given)
    recordings: list[Recording] = []
    left_out: list[str] = []
    seen: dict[str, int] = {}
    for line in table.lines:
        if blank_midi and not line.cells[chosen[c.MIDI]].strip():
            left_out.append(f"{path.name}, line {line.number}: no {chosen[c.MIDI]}")
            continue
        recording = _recording(len(recordings), table, line, chosen)
        name = unicodedata.normalize("NFC", recording.midi)
        if name in seen:
            raise CorpusError(f"{table.at(line)}: {recording.midi} was already named for recording {seen[name]}")
        seen[name] = recording.index
        recordings.append(recording)
    if not recordings:
        raise CorpusError(f"{path}: no recordings in it")
    reading = {} if layout == "csv" and all(chosen.get(n) == n for n in MAESTRO_COLUMNS) else _reading(layout, chosen)
    return Corpus(
        path.parent,
        path,
        table.data,
        tuple(recordings),
        reading,
        _remarks(table, layout, chosen) if reading else (),
        tuple(left_out),
    )


def _reading(layout: str, chosen: Mapping[str, str]) -> dict[str, object]:
    return {"layout": layout, "columns": dict(chosen)}


def _remarks(table: Table, layout: str, chosen: Mapping[str, str]) -> tuple[str, ...]:
    mapped = ", ".join(f"{name} = {column}" if name != column else name for name, column in chosen.items())
    unused = [column for column in table.columns if column not in chosen.values()]
    words = {"csv": "a CSV", "asap": "ASAP's layout"}[layout]
    remarks = [f"read as {words}, {table.path.name}: {mapped}"]
    if unused:
        remarks.append(f"columns that were not mapped: {', '.join(unused)}")
    if c.TITLE not in chosen and c.PIECE not in chosen:
        remarks.append("no title and no piece: each file name is a piece of its own, takes of one name together")
    return tuple(remarks)


def _recording(index: int, table: Table, line: Line, chosen: Mapping[str, str]) -> Recording:
    cells = {name: checked_cell(table, line, column) for name, column in chosen.items()}
    location = table.at(line)
    split = cells.get(c.SPLIT, "")
    if split not in SPLITS and (split or _as_maestro(chosen)):
        raise CorpusError(f"{location}: split {split!r}; MAESTRO's are {', '.join(SPLITS)}")
    if not cells[c.MIDI]:
        raise CorpusError(f"{location}: no {chosen[c.MIDI]}")
    midi = safe_relative(cells[c.MIDI], location)
    stem = PurePosixPath(midi).stem
    piece = cells.get(c.PIECE, "")
    if not piece and c.TITLE not in chosen:
        piece = without_once_more(stem)
    return Recording(
        index=index,
        composer=cells.get(c.COMPOSER, ""),
        title=cells.get(c.TITLE, "") if c.TITLE in chosen else stem,
        split=split,
        year=cells.get(c.YEAR, ""),
        midi=midi,
        audio=safe_relative(cells[c.AUDIO], location) if cells.get(c.AUDIO) else "",
        duration_s=_duration(cells, location, needed=_as_maestro(chosen)),
        piece=piece,
    )


def _as_maestro(chosen: Mapping[str, str]) -> bool:
    """Whether every column of MAESTRO is there, so that none of its cells may be empty but that of the sound file."""
    return all(chosen.get(name) == name for name in MAESTRO_COLUMNS)


def _duration(cells: Mapping[str, str], location: str, *, needed: bool) -> float | None:
    text = cells.get(c.DURATION, "")
    if not text and not needed:
        return None
    try:
        seconds = float(text)
    except ValueError as error:
        raise CorpusError(f"{location}: duration {text!r} is not a number of seconds") from error
    if not (math.isfinite(seconds) and seconds > 0):
        raise CorpusError(f"{location}: duration {text!r} is not a positive number of seconds")
    if seconds > LONGEST_S:
        raise CorpusError(f"{location}: duration {text} s is more than a day ({LONGEST_S:,.0f} s); give it in seconds")
    return seconds
