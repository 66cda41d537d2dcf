"""A selection of rows with their columns, without features."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from keybed.store.counted import counted
from keybed.store.format import row_table
from keybed.store.format.coded import WORDS, Coded
from keybed.store.format.vocabulary import Status


@dataclass(frozen=True)
class Row:
    """One row in words: `rows[0].tier` is "poor", `rows[0].score["pedal_technique"]` a number from 0 to 100 or NaN."""

    index: int
    recording: int
    segment: int
    piece: int
    split: str
    tier: str
    start_s: float
    level_drawn: dict[str, float]
    status: str
    n_notes: int
    score: dict[str, float]
    valid: dict[str, bool]
    level: dict[str, float]
    difficulty: dict[str, float]
    waveform: dict[str, float]
    soundfont: int
    held_out: bool

    def __repr__(self) -> str:
        scores = ", ".join(f"{name} {value:.0f}" for name, value in self.score.items() if self.valid[name])
        return (
            f"<Row {self.index}: {self.tier}, {self.split}, {self.status}; segment {self.segment} of piece {self.piece} "
            f"from {self.start_s:.1f} s; {scores or 'no score'}>"
        )


@dataclass(frozen=True, eq=False, repr=False)
class Rows:
    """Arrays of equal length, one entry per row; a second axis is `LEVELS`, `DIMENSIONS`, … of `keybed.store.format.vocabulary`.

    index: the row's number in the store, which `Store.read` takes. score and level may be NaN where valid is false.
    soundfont: number in the recipe's list, 0 where it has one soundfont; held_out: its soundfont is kept out of training.
    split, tier and status are numbers that can be compared with words.

    `rows[rows.tier == "poor"]`, `rows[:10]` and `rows[[4, 2]]` are Rows, `rows[0]` and what a loop gives are a `Row`.
    """

    index: NDArray[np.int64]
    recording: NDArray[np.int32]
    segment: NDArray[np.int32]
    piece: NDArray[np.int32]
    split: NDArray[np.uint8]
    tier: NDArray[np.uint8]
    start_s: NDArray[np.float64]
    level_drawn: NDArray[np.float32]
    status: NDArray[np.uint8]
    n_notes: NDArray[np.int32]
    score: NDArray[np.float32]
    valid: NDArray[np.bool_]
    level: NDArray[np.float32]
    difficulty: NDArray[np.float32]
    waveform: NDArray[np.float32]
    soundfont: NDArray[np.uint8]
    held_out: NDArray[np.bool_]

    def __post_init__(self) -> None:
        lengths = {name: len(values) for name, values in self._columns().items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"columns of different lengths: {lengths}")
        for name in WORDS:
            object.__setattr__(self, name, Coded(getattr(self, name), name))

    def __len__(self) -> int:
        return len(self.index)

    def take(self, chosen: ArrayLike) -> Rows:
        """The rows where a boolean mask is true, or the rows at the given positions (in that order, repeats allowed)."""
        chosen = np.asarray(chosen)
        if chosen.dtype == bool and len(chosen) != len(self):
            raise ValueError(f"a mask of {len(chosen)} for {counted(len(self), 'row')}")
        if not chosen.size:
            chosen = chosen.astype(np.int64)
        return Rows(**{name: values[chosen] for name, values in self._columns().items()})

    @overload
    def __getitem__(self, chosen: int | np.integer[Any]) -> Row: ...
    @overload
    def __getitem__(self, chosen: slice | ArrayLike) -> Rows: ...
    def __getitem__(self, chosen: Any) -> Row | Rows:
        """The `Row` at a position, or the Rows of a slice, of a boolean mask, or at a list of positions."""
        if isinstance(chosen, str):
            raise TypeError(f"rows[{chosen!r}]: a column is an attribute, rows.{chosen}")
        if isinstance(chosen, int | np.integer) and not isinstance(chosen, bool | np.bool_):
            return self._row(int(chosen))
        if isinstance(chosen, slice):
            return self.take(np.arange(len(self))[chosen])
        chosen = np.asarray(chosen)
        if chosen.ndim != 1:
            raise TypeError(f"rows take a position, a slice, a mask or a list of positions, not shape {chosen.shape}")
        return self.take(chosen)

    def __iter__(self) -> Iterator[Row]:
        return (self._row(i) for i in range(len(self)))

    def __repr__(self) -> str:
        return f"<Rows: {self._summary()}>"

    def _repr_html_(self) -> str:
        return row_table.to_html(self._columns(), repr(self)[1:-1])

    def to_pandas(self) -> Any:
        """A pandas DataFrame with one line per row, indexed by the row's number in the store.

        split, tier and status are categories in words, tiers in order from pristine to poor. Columns with a second axis
        are spread: score_note_accuracy, valid_note_accuracy, level_timing, … Raises NotInstalled where pandas is absent.
        """
        return row_table.to_pandas(self._columns())

    def _columns(self) -> dict[str, np.ndarray]:
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def _row(self, i: int) -> Row:
        if not -len(self) <= i < len(self):
            raise IndexError(f"row {i} of {counted(len(self), 'row')}")
        values: dict[str, Any] = {}
        for name, column in self._columns().items():
            if name in WORDS:
                values[name] = WORDS[name].get(int(column[i]), str(column[i]))
            elif name in row_table.LABELS:
                values[name] = dict(zip(row_table.LABELS[name], column[i].tolist(), strict=True))
            else:
                values[name] = column[i].item()
        return Row(**values)

    def _summary(self) -> str:
        n_segments, n_pieces = len(np.unique(self.segment)), len(np.unique(self.piece))
        parts = [
            f"{counted(len(self), 'row')} of {counted(n_segments, 'segment')} and {counted(n_pieces, 'piece')}",
            *(_counts(getattr(self, name), WORDS[name]) for name in ("tier", "split")),
        ]
        failed = int((self.status != int(Status.OK)).sum())
        return "; ".join([*filter(None, parts), *([f"{failed} without features"] if failed else [])])


def _counts(numbers: np.ndarray, words: Any) -> str:
    found = {word: int((numbers == number).sum()) for number, word in words.items()}
    return ", ".join(f"{word} {n:,}" for word, n in found.items() if n)
