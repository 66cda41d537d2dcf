"""Read a CSV as lines of text cells, with limits. Comma, semicolon and tab are told apart by the header."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from keybed.extract.corpus.metadata import LONGEST_FIELD, CorpusError, shortened
from keybed.extract.regular_files import size_of

_OTHER_SEPARATORS = (";", "\t")


@dataclass(frozen=True)
class Line:
    """One line: its number in the file, for messages, and its cells by column."""

    number: int
    cells: dict[str, str]


@dataclass(frozen=True)
class Table:
    """A CSV. data: its bytes, which the recipe hashes."""

    path: Path
    data: bytes
    columns: tuple[str, ...]
    lines: tuple[Line, ...]

    def at(self, line: Line) -> str:
        """`FILE, line 3`, for messages."""
        return f"{self.path}, line {line.number}"

    def shown_columns(self) -> str:
        """The names of all columns, for messages."""
        return ", ".join(shortened(column) for column in self.columns) or "none"


def read_table(path: Path) -> Table:
    """Raises CorpusError for a file that cannot be read, is not UTF-8 or not CSV, or has lines of another length."""
    try:
        size_of(path)
        data = path.read_bytes()
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror or error})") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8") from error
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=_separator(text))
    try:
        columns = tuple(column.strip() for column in reader.fieldnames or ())
        reader.fieldnames = list(columns)
        read = [(reader.line_num, line) for line in reader]
    except csv.Error as error:
        raise CorpusError(f"{path}, after line {reader.line_num}: not CSV as MAESTRO writes it ({error})") from error
    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice:
        raise CorpusError(f"{path}: column {shortened(twice[0])!r} stands twice in the header; rename one of them")
    for number, line in read:
        if None in line or None in line.values():
            raise CorpusError(
                f"{path}, line {number}: {len(columns)} columns in the header, another number in this line"
            )
    return Table(path, data, columns, tuple(Line(number, line) for number, line in read))


def _separator(text: str) -> str:
    header = text.partition("\n")[0]
    return next((sign for sign in _OTHER_SEPARATORS if sign in header and "," not in header), ",")


def checked_cell(table: Table, line: Line, column: str) -> str:
    """The cell without spaces around it. Raises CorpusError where it is too long for a name."""
    text = line.cells[column]
    if len(text) > LONGEST_FIELD:
        raise CorpusError(
            f"{table.at(line)}: {column} has {len(text):,} characters ({shortened(text)!r}); at most "
            f"{LONGEST_FIELD:,} are accepted"
        )
    return text.strip()
