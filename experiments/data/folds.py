"""Folds: rows that train, rows that validate, test rows. No piece lies in two of them.

A store with at least 20 test pieces uses its own splits. A store with fewer is tested out of fold: every piece is a test
piece once, for heads that never saw it, and each fold chooses on its own validation rows. Rows of a soundfont that was held
out never train.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from keybed.store.counted import counted
from keybed.store.errors import KeybedError
from keybed.store.format.rows import Rows
from keybed.store.format.vocabulary import SPLITS

MIN_TEST_PIECES = 20
Positions = NDArray[np.int64]


class TooFewPieces(KeybedError):
    """Too few pieces to train, validate and test on different ones."""


@dataclass(frozen=True, eq=False)
class Fold:
    """Positions in one selection of rows."""

    name: str
    train: Positions
    validation: Positions
    test: Positions


def grouped_folds(groups: NDArray[np.integer], n_folds: int, seed: int = 0) -> NDArray[np.int64]:
    """Fold number of each row, int64 (n,): whole groups, and nearly equal numbers of rows in every fold.

    The largest group goes first, each to the fold with the fewest rows. scikit-learn's GroupKFold does so only without a
    seed, and with one it does not balance; its folds are other ones than those of earlier runs. Raises ValueError for fewer
    groups than folds.
    """
    names, member = np.unique(groups, return_inverse=True)
    if len(names) < n_folds:
        raise ValueError(f"{counted(n_folds, 'fold')} need as many groups; there are {len(names)}")
    size = np.bincount(member)
    order = np.random.default_rng(seed).permutation(len(names))
    order = order[np.argsort(-size[order], kind="stable")]
    fold_of_group, n_rows = np.zeros(len(names), np.int64), np.zeros(n_folds, np.int64)
    for group in order:
        fold = int(np.argmin(n_rows))
        fold_of_group[group], n_rows[fold] = fold, n_rows[fold] + size[group]
    return fold_of_group[member]


def split_fold(rows: Rows) -> Fold:
    """The store's own splits. Raises TooFewPieces where one is empty."""
    parts = {name: np.flatnonzero(rows.split == i) for i, name in enumerate(SPLITS)}
    parts["train"] = parts["train"][~rows.held_out[parts["train"]]]
    empty = [name for name, positions in parts.items() if not len(positions)]
    if empty:
        raise TooFewPieces(f"no usable rows in {', '.join(empty)}: plan a larger store (`keybed plan … --limit N`)")
    return Fold("test split", parts["train"], parts["validation"], parts["test"])


def out_of_fold(rows: Rows, n_folds: int, seed: int) -> list[Fold]:
    """Folds over all pieces, balanced by rows: one part is tested, the next one validates, the others train.

    Raises TooFewPieces below three pieces.
    """
    pieces = np.unique(rows.piece)
    if n_folds < 3:
        raise TooFewPieces(
            f"{counted(n_folds, 'fold')}: one is tested, one validates, the others train; give --folds 3 or more"
        )
    n_folds = min(n_folds, len(pieces))
    if n_folds < 3:
        raise TooFewPieces(
            f"{counted(len(pieces), 'piece')} with usable rows: training, validation and test need three at least; "
            "plan a larger store (`keybed plan … --limit N`)"
        )
    part = grouped_folds(rows.piece, n_folds, seed)
    folds = []
    for f in range(n_folds):
        validation = (f + 1) % n_folds
        folds.append(
            Fold(
                f"fold {f + 1} of {n_folds}",
                np.flatnonzero((part != f) & (part != validation) & ~rows.held_out),
                np.flatnonzero(part == validation),
                np.flatnonzero(part == f),
            )
        )
    return folds


def n_test_pieces(rows: Rows) -> int:
    """Distinct pieces among the test split's usable rows."""
    return len(np.unique(rows.piece[rows.split == SPLITS.index("test")]))


def outer_folds(rows: Rows, n_folds: int) -> list[Fold]:
    """The store's own split where it has MIN_TEST_PIECES test pieces, else `n_folds` folds over all pieces."""
    return [split_fold(rows)] if n_test_pieces(rows) >= MIN_TEST_PIECES else out_of_fold(rows, n_folds, seed=0)
