"""Draw one of several choices per segment, in turn within every split and piece, so that no split is lucky."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from keybed.extract.planning.segments import RowOrder


def in_turn(order: RowOrder, split: int, choices: Sequence[int], rng: np.random.Generator) -> tuple[NDArray, NDArray]:
    """(row positions of this split, the choice of each): segments sorted by piece take the choices in a drawn order in turn.

    Counts of two choices differ by at most one segment, in the split and in every piece.
    """
    columns = order.columns
    rows = np.flatnonzero(columns["split"] == split)
    segments, first, of_row = np.unique(columns["segment"][rows], return_index=True, return_inverse=True)
    turn = np.array(choices, np.uint8)[rng.permutation(len(choices))]
    by_piece = np.lexsort((rng.permutation(segments.size), columns["piece"][rows][first]))
    of_segment = np.empty(segments.size, np.uint8)
    of_segment[by_piece] = turn[np.arange(segments.size) % len(choices)]
    return rows, of_segment[of_row]
