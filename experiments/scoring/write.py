"""score.json, score.csv and comparison.csv in a folder. One line of a CSV is one dimension of one window."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from keybed.experiments.data.json_codec import from_json
from keybed.experiments.data.run_folder import read_json, replace_run_file, write_json
from keybed.experiments.scoring.results import ScoreRecord

JSON, CSV, COMPARISON = "score.json", "score.csv", "comparison.csv"
COLUMNS = (
    "file",
    "start_s",
    "end_s",
    "n_notes",
    "distance",
    "dimension",
    "score",
    "lower",
    "upper",
    "judged",
    "reason",
)
COMPARISON_COLUMNS = (
    "first",
    "other",
    "start_s",
    "other_start_s",
    "same_notes",
    "dimension",
    "difference",
    "compared",
    "lower",
    "upper",
)


def write_record(record: ScoreRecord, out: Path) -> list[Path]:
    """Write the files into `out`, which is made; returns their paths. comparison.csv only where files were compared.

    Raises NoDiskSpace and ReadOnlyStore where they cannot be written.
    """
    out.mkdir(parents=True, exist_ok=True)
    written = [write_json(out / JSON, record), _write_csv(out / CSV, COLUMNS, _windows(record))]
    if record.comparisons:
        written.append(_write_csv(out / COMPARISON, COMPARISON_COLUMNS, _passages(record)))
    return written


def read_record(out: Path) -> ScoreRecord:
    """Inverse of `write_record`, from OUT/score.json. Raises JsonMismatch."""
    path = out / JSON
    return from_json(ScoreRecord, read_json(path, "score the files again"), path)


def _windows(record: ScoreRecord) -> Iterator[Sequence[object]]:
    for file in record.files:
        for w in file.windows:
            for dimension, cell in w.scores.items():
                yield (
                    *(file.name, w.start_s, w.end_s, w.n_notes, w.distance, dimension),
                    *(cell.score, cell.lower, cell.upper, int(cell.judged), cell.reason),
                )


def _passages(record: ScoreRecord) -> Iterator[Sequence[object]]:
    for c in record.comparisons:
        for p in c.passages:
            for dimension, difference in p.difference.items():
                cell = p.compared.get(dimension)
                compared = (None,) * 3 if cell is None else (cell.difference, cell.lower, cell.upper)
                yield (c.first, c.other, p.start_s, p.other_start_s, p.same_notes, dimension, difference, *compared)


def _write_csv(path: Path, columns: Sequence[str], lines: Iterable[Sequence[object]]) -> Path:
    with replace_run_file(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", errors="surrogateescape", newline="")
        writer = csv.writer(text)
        writer.writerow(columns)
        writer.writerows(lines)
        text.flush()
        text.detach()
    return path
