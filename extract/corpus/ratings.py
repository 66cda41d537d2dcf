"""Read ratings by people: a CSV with one line per file or passage (and rater), or PercePiano's labels."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from keybed.extract.corpus.columns import did_you_mean
from keybed.extract.corpus.csv_table import Line, Table, checked_cell, read_table
from keybed.extract.corpus.metadata import CorpusError, shortened
from keybed.extract.corpus.percepiano import SCALES
from keybed.store.counted import counted
from keybed.store.format.recipe_rules import LONGEST_DIMENSION, MOST_RATING_DIMENSIONS
from keybed.store.format.vocabulary import DIMENSIONS

FILE, START, END, RATER, DIMENSION, RATING = KEYS = ("file", "start", "end", "rater", "dimension", "rating")
"""What a CSV of ratings may hold beside its dimensions. `dimension` and `rating` belong together: the long form."""
_ALSO_CALLED = {FILE: ("midi_filename", "midi", "audio_filename", "audio", "recording", "name", "performance")}
MISSING = ("", "na", "n/a", "nan", "none", "null", "-")
"""Cells that hold no rating, in lower case."""


@dataclass(frozen=True, eq=False)
class Passage:
    """One rated passage. start_s, end_s: None for the whole file. mean, sd, n: (dimension,) over its ratings; NaN and 0: none."""

    file: str
    start_s: float | None
    end_s: float | None
    mean: NDArray[np.float64]
    sd: NDArray[np.float64]
    n: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Ratings:
    """The ratings of a file in its own scale. scale: (worst, best). sha256: of the file's bytes."""

    path: Path
    sha256: str
    dimensions: tuple[str, ...]
    scale: tuple[float, float]
    passages: tuple[Passage, ...]
    remarks: tuple[str, ...]


def scale_of(given: Sequence[str] | None) -> tuple[float, float] | None:
    """`--label-scale 1,7` as (1.0, 7.0): the worst rating, then the best. Raises CorpusError."""
    if given is None:
        return None
    try:
        worst, best = (float(part) for part in given)
    except ValueError:
        worst = best = math.nan
    if not (math.isfinite(worst) and math.isfinite(best) and worst != best):
        raise CorpusError(f"--label-scale {','.join(given)}: give the worst rating, then the best, such as 1,7")
    return worst, best


def read_ratings(path: Path, given: Mapping[str, str], scale: tuple[float, float] | None) -> Ratings:
    """Read a CSV of ratings, or the folder `labels/` of PercePiano.

    given: key or dimension -> column (in the long form: -> name in the column `dimension`), from --labels-columns. Raises
    CorpusError for a file without ratings, cells that are no numbers, and ratings outside the scale.
    """
    if path.is_dir():
        return _percepiano(path, given, scale or (0.0, 1.0))
    table = read_table(path)
    keys = {key: column for key in KEYS if (column := _key_column(table, key, given)) is not None}
    if FILE not in keys:
        raise CorpusError(
            f"{path}: no column {FILE}; its columns are {table.shown_columns()}. Say which one names the rated files: "
            f"--labels-columns '{FILE}={shortened(next(iter(table.columns), 'COLUMN'))}'"
        )
    wanted = {name: column for name, column in given.items() if name not in KEYS}
    long = DIMENSION in keys and RATING in keys
    columns = _long_columns(table, keys, wanted) if long else _wide_columns(table, keys, wanted)
    dimensions = _checked_dimensions(path, tuple(columns))
    if scale is None:
        low, high = _range(table, keys, columns, long)
        raise CorpusError(
            f"{path}: its ratings run from {low:g} to {high:g}; say what the worst and the best rating are, such as "
            f"--label-scale {low:g},{high:g}"
        )
    collected: dict[tuple[str, float | None, float | None], list[list[float]]] = {}
    for line, passage in _passages(table, keys):
        values = collected.setdefault(passage, [[] for _ in dimensions])
        for k, value in _cells(table, line, keys, columns, long):
            if not min(scale) <= value <= max(scale):
                raise CorpusError(
                    f"{table.at(line)}: {value:g} for {dimensions[k]} lies outside --label-scale {scale[0]:g},{scale[1]:g}"
                )
            values[k].append(value)
    passages = tuple(_passage(*where, values) for where, values in collected.items() if any(values))
    if not passages:
        raise CorpusError(f"{path}: no rating in it")
    return Ratings(
        path,
        hashlib.sha256(table.data).hexdigest(),
        dimensions,
        scale,
        passages,
        _remarks(table, keys, columns, dimensions, scale, passages, long),
    )


def _key_column(table: Table, key: str, given: Mapping[str, str]) -> str | None:
    if key in given:
        if given[key] not in table.columns:
            raise CorpusError(
                f"--labels-columns {key}={given[key]}: {table.path} has no column {given[key]}"
                f"{did_you_mean(given[key], table.columns)}; its columns are {table.shown_columns()}"
            )
        return given[key]
    lower = {column.lower(): column for column in table.columns if column not in given.values()}
    return next((lower[name] for name in (key, *_ALSO_CALLED.get(key, ())) if name in lower), None)


def _wide_columns(table: Table, keys: Mapping[str, str], wanted: Mapping[str, str]) -> dict[str, str]:
    """Dimension -> column: those asked for, or every other column that holds numbers alone."""
    for name, column in wanted.items():
        if column not in table.columns:
            raise CorpusError(
                f"--labels-columns {name}={column}: {table.path} has no column {column}{did_you_mean(column, table.columns)}; "
                f"its columns are {table.shown_columns()}"
            )
    if wanted:
        return dict(wanted)
    others = [column for column in table.columns if column not in keys.values()]
    return {column: column for column in others if _is_numeric(line.cells[column] for line in table.lines)}


def _long_columns(table: Table, keys: Mapping[str, str], wanted: Mapping[str, str]) -> dict[str, str]:
    """Dimension -> its name in the column `dimension`."""
    names = list(dict.fromkeys(line.cells[keys[DIMENSION]].strip() for line in table.lines))
    for name, value in wanted.items():
        if value not in names:
            raise CorpusError(
                f"--labels-columns {name}={value}: column {keys[DIMENSION]} of {table.path} never says {value}"
                f"{did_you_mean(value, names)}; it says {', '.join(map(shortened, names[:20]))}"
            )
    return dict(wanted) or {name: name for name in names if name}


def _checked_dimensions(path: Path, names: tuple[str, ...]) -> tuple[str, ...]:
    if not names:
        raise CorpusError(f"{path}: no column of ratings; name them with --labels-columns DIMENSION=COLUMN")
    if len(names) > MOST_RATING_DIMENSIONS:
        raise CorpusError(f"{path}: {len(names)} columns of ratings; at most {MOST_RATING_DIMENSIONS} are read")
    for name in names:
        if len(name) > LONGEST_DIMENSION or not name.isprintable():
            raise CorpusError(
                f"{path}: {shortened(name)!r} is no name for a dimension (at most {LONGEST_DIMENSION} letters)"
            )
    return names


def _passages(table: Table, keys: Mapping[str, str]) -> Iterator[tuple[Line, tuple[str, float | None, float | None]]]:
    for line in table.lines:
        name = checked_cell(table, line, keys[FILE])
        if not name:
            raise CorpusError(f"{table.at(line)}: no {keys[FILE]}")
        start, end = (_number(table, line, keys[key]) if key in keys else None for key in (START, END))
        if (start is not None and start < 0) or (end is not None and end <= (start or 0.0)):
            raise CorpusError(
                f"{table.at(line)}: a passage from {start} to {end} s; give seconds, the start before the end"
            )
        yield line, (name, start, end)


def _cells(
    table: Table, line: Line, keys: Mapping[str, str], columns: Mapping[str, str], long: bool
) -> Iterator[tuple[int, float]]:
    if long:
        here = line.cells[keys[DIMENSION]].strip()
        pairs = [(k, keys[RATING]) for k, name in enumerate(columns.values()) if name == here]
    else:
        pairs = list(enumerate(columns.values()))
    for k, column in pairs:
        value = _number(table, line, column)
        if value is not None:
            yield k, value


def _number(table: Table, line: Line, column: str) -> float | None:
    text = line.cells[column].strip()
    if text.lower() in MISSING:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise CorpusError(f"{table.at(line)}: {column} is {shortened(text)!r}, no number")
    return value


def _is_numeric(cells: Iterator[str]) -> bool:
    filled = [cell for cell in (text.strip() for text in cells) if cell.lower() not in MISSING]
    try:
        return bool(filled) and all(math.isfinite(float(cell)) for cell in filled)
    except ValueError:
        return False


def _range(table: Table, keys: Mapping[str, str], columns: Mapping[str, str], long: bool) -> tuple[float, float]:
    values = [value for line in table.lines for _, value in _cells(table, line, keys, columns, long)]
    if not values:
        raise CorpusError(f"{table.path}: no rating in it")
    return min(values), max(values)


def _passage(file: str, start_s: float | None, end_s: float | None, values: list[list[float]]) -> Passage:
    n = np.array([len(of) for of in values])
    mean = np.array([np.mean(of) if of else np.nan for of in values])
    sd = np.array([np.std(of, ddof=1) if len(of) > 1 else np.nan for of in values])
    return Passage(file, start_s, end_s, mean, sd, n)


def _remarks(
    table: Table,
    keys: Mapping[str, str],
    columns: Mapping[str, str],
    dimensions: Sequence[str],
    scale: tuple[float, float],
    passages: Sequence[Passage],
    long: bool,
) -> tuple[str, ...]:
    own = [name for name in dimensions if name not in DIMENSIONS]
    lines = [
        f"ratings from {table.path.name}: {counted(len(passages), 'passage')}, {counted(len(dimensions), 'dimension')} "
        f"({', '.join(dimensions)}); {scale[0]:g} is worst (score 0), {scale[1]:g} is best (score 100)"
    ]
    for name in own:
        if near := did_you_mean(name, DIMENSIONS):
            lines.append(f"{name} is a dimension of its own{near}")
    unused = [c for c in table.columns if c not in keys.values() and c not in columns.values()]
    if unused and not long:
        lines.append(f"columns of {table.path.name} that were not read as ratings: {', '.join(map(shortened, unused))}")
    most = max(int(passage.n.max()) for passage in passages)
    if most > 1:
        lines.append(
            f"a passage has at most {counted(most, 'rating')} of a dimension; their mean is the label, their sd is kept"
        )
    return tuple(lines)


def _percepiano(folder: Path, given: Mapping[str, str], scale: tuple[float, float]) -> Ratings:
    """PercePiano's means and standard deviations over its raters, on its own scales from 0 to 1."""
    means, data = _labels(folder, "mean")
    sds, _ = _labels(folder, "std")
    names = [slug(name) for name in SCALES]
    chosen = dict(given) or {name: name for name in names}
    for name, source in chosen.items():
        if source not in names:
            raise CorpusError(
                f"--labels-columns {name}={source}: PercePiano has no scale {source}{did_you_mean(source, names)}; it has "
                f"{', '.join(names)}"
            )
    at = [names.index(source) for source in chosen.values()]
    passages = []
    for name, values in means.items():
        mean = np.array(values[: len(SCALES)], np.float64)[at]
        if not ((mean >= min(scale)) & (mean <= max(scale))).all():
            raise CorpusError(f"{folder}: a rating of {name} lies outside --label-scale {scale[0]:g},{scale[1]:g}")
        sd = np.array(sds[name][: len(SCALES)], np.float64)[at] if name in sds else np.full(len(at), np.nan)
        passages.append(Passage(name, None, None, mean, sd, np.ones(len(at), np.int64)))
    remark = (
        f"ratings of PercePiano: {counted(len(passages), 'performance')} on {counted(len(at), 'scale')}, means over raters; "
        "its scales have two poles, and neither need be better"
    )
    return Ratings(folder, hashlib.sha256(data).hexdigest(), tuple(chosen), scale, tuple(passages), (remark,))


def slug(scale: str) -> str:
    """`timing: stable–unstable` as `timing_stable_unstable`."""
    return "_".join("".join(c if c.isalnum() else " " for c in scale.lower()).split())


def _labels(folder: Path, kind: str) -> tuple[dict[str, list[float]], bytes]:
    paths = [path for path in sorted(folder.glob("*.json")) if kind in path.stem.split("_")]
    if not paths:
        raise CorpusError(
            f"{folder}: no file named …_{kind}_….json; give a CSV of ratings or PercePiano's folder labels/"
        )
    try:
        data = paths[0].read_bytes()
        entries = {str(name).strip(): [float(value) for value in values] for name, values in json.loads(data).items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise CorpusError(f"{paths[0]}: not PercePiano's labels ({error})") from error
    short = [name for name, values in entries.items() if len(values) < len(SCALES)]
    if short:
        raise CorpusError(f"{paths[0]}: {short[0]} has fewer than {len(SCALES)} ratings")
    return entries, data
