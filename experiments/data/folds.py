"""Which rows train, which choose, which are judged; never a piece on two sides.

With enough test pieces the store's own splits are used. With fewer than 20 the test split cannot carry a verdict: then
every piece is judged once by heads that never saw it (piece-grouped out-of-fold predictions), and what was chosen on
validation rows is chosen inside each fold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from keybed.store.errors import KeybedError
from keybed.store.format.rows import Rows
from keybed.store.format.vocabulary import SPLITS

MIN_TEST_PIECES = 20
Positions = NDArray[np.int64]


class TooFewPieces(KeybedError):
    """Not enough pieces to train, choose and judge on different ones."""


@dataclass(frozen=True, eq=False)
class Fold:
    """Positions in one selection of rows."""

    name: str
    train: Positions
    validation: Positions
    test: Positions


def split_fold(rows: Rows) -> Fold:
    """The store's own splits. Raises TooFewPieces where one is empty."""
    parts = {name: np.flatnonzero(rows.split == i) for i, name in enumerate(SPLITS)}
    empty = [name for name, positions in parts.items() if not len(positions)]
    if empty:
        raise TooFewPieces(f"no usable rows in {', '.join(empty)}: plan a larger store (`keybed plan … --limit N`)")
    return Fold("test split", parts["train"], parts["validation"], parts["test"])


def out_of_fold(rows: Rows, n_folds: int, seed: int) -> list[Fold]:
    """Folds over all pieces, balanced by rows: one part is tested, the next one validates, the rest trains.

    Raises TooFewPieces below three pieces.
    """
    pieces, counts = np.unique(rows.piece, return_counts=True)
    if n_folds < 3:
        raise TooFewPieces(f"{n_folds} folds: one is tested, one validates, the rest trains; give --folds 3 or more")
    n_folds = min(n_folds, len(pieces))
    if n_folds < 3:
        raise TooFewPieces(
            f"{len(pieces)} pieces with usable rows: training, choosing and judging need three at least; "
            "plan a larger store (`keybed plan … --limit N`)"
        )
    order = np.random.default_rng(seed).permutation(len(pieces))
    order = order[np.argsort(-counts[order], kind="stable")]
    load, part_of = np.zeros(n_folds), np.zeros(len(pieces), dtype=np.int64)
    for piece in order:
        part_of[piece] = int(np.argmin(load))
        load[part_of[piece]] += counts[piece]
    part = part_of[np.searchsorted(pieces, rows.piece)]
    folds = []
    for f in range(n_folds):
        choosing = (f + 1) % n_folds
        folds.append(
            Fold(
                f"fold {f + 1} of {n_folds}",
                np.flatnonzero((part != f) & (part != choosing)),
                np.flatnonzero(part == choosing),
                np.flatnonzero(part == f),
            )
        )
    return folds


def n_test_pieces(rows: Rows) -> int:
    """Distinct pieces among the test split's usable rows."""
    return len(np.unique(rows.piece[rows.split == SPLITS.index("test")]))
