"""Nested training sets: a share of a fold's training pieces, and a share of the segments of each of them.

A draw orders the pieces, and the segments of each piece, once; a larger share holds all rows of a smaller one. All variants of
a segment go together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from keybed.store.format.rows import Rows

Positions = NDArray[np.int64]


@dataclass(frozen=True)
class Cell:
    """The sixteenths of the training pieces, and of each piece's segments, that train."""

    pieces: int
    segments: int = 16

    @property
    def name(self) -> str:
        """A name for files and messages, such as "pieces 4/16, segments 16/16"."""
        return f"pieces {self.pieces}/16, segments {self.segments}/16"


PIECES = tuple(Cell(n) for n in (1, 2, 4, 8, 16))
"""The curve: whole pieces, 1/16 to all of them."""
SAME_ROWS = (Cell(4, 16), Cell(8, 8), Cell(16, 4))
"""A quarter of the training rows, of a quarter, a half and all of the pieces."""
FEWEST_ROWS = (Cell(1, 16), Cell(16, 1))
"""A sixteenth of the training rows, of a sixteenth of the pieces and of all of them."""
CELLS = tuple(dict.fromkeys((*PIECES, *SAME_ROWS, *FEWEST_ROWS)))


def training_set(rows: Rows, train: Positions, cell: Cell, seed: tuple[int, ...]) -> Positions:
    """The positions among `train` that this cell trains on, in order; at least one piece, and one segment of each piece."""
    pieces = np.unique(rows.piece[train])
    kept = np.random.default_rng(seed).permutation(pieces)[: _part(len(pieces), cell.pieces)]
    chosen = []
    for piece in kept:
        of_piece = train[rows.piece[train] == piece]
        segments = np.random.default_rng((*seed, int(piece))).permutation(np.unique(rows.segment[of_piece]))
        segments = segments[: _part(len(segments), cell.segments)]
        chosen.append(of_piece[np.isin(rows.segment[of_piece], segments)])
    return np.sort(np.concatenate(chosen))


def _part(n: int, sixteenths: int) -> int:
    return max(1, round(n * sixteenths / 16))
