"""Which column of a CSV holds what: MAESTRO's names, other names that are plain, and those given with --columns."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

from keybed.extract.corpus.csv_table import Table
from keybed.extract.corpus.metadata import CorpusError, shortened
from keybed.store.counted import counted

COMPOSER, TITLE, SPLIT, YEAR, MIDI, AUDIO, DURATION, PIECE = FIELDS = (
    "canonical_composer",
    "canonical_title",
    "split",
    "year",
    "midi_filename",
    "audio_filename",
    "duration",
    "piece",
)
"""What a corpus may say of a recording, under MAESTRO v3's names; `piece` is ours. Only the MIDI file is needed."""
SHORT = {"midi": MIDI, "audio": AUDIO, "composer": COMPOSER, "title": TITLE}
"""Other names of fields for --columns."""
_ALSO_CALLED = {
    MIDI: ("midi", "midi_file", "midi_path", "midi_performance"),
    AUDIO: ("audio", "audio_file", "audio_path", "audio_performance"),
    COMPOSER: ("composer",),
    TITLE: ("title",),
    SPLIT: (),
    YEAR: (),
    DURATION: ("duration_s",),
    PIECE: ("piece_id",),
}
"""Columns that are taken for a field without being named, where MAESTRO's own name is absent."""


def pairs_of(given: Sequence[str], option: str = "--columns") -> dict[str, str]:
    """`title=work` as {"title": "work"}. Raises CorpusError for anything else, and for a name that is given twice."""
    pairs: dict[str, str] = {}
    for pair in given:
        name, equals, column = (part.strip() for part in pair.partition("="))
        if not (name and equals and column):
            raise CorpusError(f"{option} {pair}: write NAME=COLUMN, such as title=work")
        if name in pairs:
            raise CorpusError(f"{option}: {name} is given twice")
        pairs[name] = column
    return pairs


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """`; did you mean title?` or nothing."""
    close = difflib.get_close_matches(word.lower(), {name.lower(): name for name in known}, 1)
    return f"; did you mean {next(name for name in known if name.lower() == close[0])}?" if close else ""


def columns_of(table: Table, given: Mapping[str, str]) -> dict[str, str]:
    """Field -> column of this table, MIDI at least.

    given: field -> column, from --columns. Raises CorpusError for a field or column that does not exist, and where no
    column, or more than one, can hold the MIDI files.
    """
    chosen: dict[str, str] = {}
    for name, column in given.items():
        target = SHORT.get(name, name)
        if target not in FIELDS:
            raise CorpusError(
                f"--columns {name}={column}: there is no field {name}{did_you_mean(name, (*FIELDS, *SHORT))}; "
                f"fields are {', '.join(FIELDS)}"
            )
        if target in chosen:
            raise CorpusError(f"--columns: {target} is given twice")
        if column not in table.columns:
            raise CorpusError(
                f"--columns {name}={column}: {table.path} has no column {column}{did_you_mean(column, table.columns)}; "
                f"its columns are {table.shown_columns()}"
            )
        chosen[target] = column
    for name in FIELDS:
        if name not in chosen and (found := _by_name(table, name, set(chosen.values()))):
            chosen[name] = found
    if MIDI not in chosen:
        chosen[MIDI] = _by_content(table)
    return chosen


def _by_name(table: Table, field: str, taken: set[str]) -> str | None:
    lower = {column.lower(): column for column in table.columns if column not in taken}
    if field in lower:
        return lower[field]
    alike = [lower[name] for name in _ALSO_CALLED[field] if name in lower]
    return alike[0] if len(alike) == 1 else None


def _by_content(table: Table) -> str:
    """The only column in which every filled cell ends with .mid or .midi. Raises CorpusError where there is no such one."""
    alike = [column for column in table.columns if _names_midi([line.cells[column] for line in table.lines])]
    if len(alike) == 1:
        return alike[0]
    several = f"{counted(len(alike), 'column')} could be it ({', '.join(map(shortened, alike))}). " if alike else ""
    example = shortened(alike[0] if alike else next(iter(table.columns), "FILE"))
    raise CorpusError(
        f"{table.path}: no column {MIDI}; its columns are {table.shown_columns()}. {several}Say which column names the MIDI "
        f"files, such as --columns '{MIDI}={example}'; other fields that can be mapped: {', '.join(name for name in FIELDS if name != MIDI)}"
    )


def _names_midi(cells: Sequence[str]) -> bool:
    filled = [cell for cell in map(str.strip, cells) if cell]
    return bool(filled) and all(cell.lower().endswith((".mid", ".midi")) for cell in filled)
