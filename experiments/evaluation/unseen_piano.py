"""How far models fall on a piano (soundfont) that no training row has, on the same test pieces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.evaluation.intervals import Interval, intervals
from keybed.experiments.evaluation.predictions import (
    Correlations,
    Kind,
    Predictions,
    over_dimensions,
    over_seeds,
    rows_of_models,
)
from keybed.store.format.rows import Rows
from keybed.store.format.soundfonts import held_out_soundfont, soundfont_names
from keybed.store.read.store import Store

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class OnPianos:
    """One model's mean r on the seen pianos and on the unseen one. fall: seen minus unseen, paired over pieces.

    kept: r on the unseen piano over that on the seen ones.
    """

    seen: Interval
    unseen: Interval
    fall: Interval
    kept: Interval


@dataclass(frozen=True)
class UnseenPiano:
    """Test rows of the pieces that have both; seen_rows, unseen_rows: how many. models: by name."""

    held_out: str
    trained_on: tuple[str, ...]
    pieces: int
    seen_rows: int
    unseen_rows: int
    models: dict[str, OnPianos]


def unseen_piano(
    store: Store, rows: Rows, predictions: Predictions, names: Sequence[str], kind: Kind = "specific"
) -> UnseenPiano | None:
    """None for a store that holds no soundfont out, or whose test rows have fewer than two pieces with both.

    rows: those of the predictions, in their order. kind: of r.
    """
    held_out = held_out_soundfont(store.recipe.audio)
    if held_out is None:
        return None
    fonts = soundfont_names(store.recipe.audio)
    both = np.intersect1d(rows.piece[rows.held_out], rows.piece[~rows.held_out])
    if len(both) < 2:
        return None
    shared = np.isin(rows.piece, both)
    parts = [rows_of_models(predictions, shared & chosen, names) for chosen in (~rows.held_out, rows.held_out)]
    correlations = [Correlations(part, kind) for part in parts]

    def statistic(pieces: Floats, seeds: Floats) -> Floats:
        seen, unseen = (over_dimensions(over_seeds(c(pieces), seeds)) for c in correlations)
        kept = np.divide(unseen, seen, out=np.full_like(seen, np.nan), where=seen > 0)
        return np.stack([seen, unseen, seen - unseen, kept], axis=1)

    values = intervals(statistic, len(both), predictions.n_seeds)
    return UnseenPiano(
        held_out=fonts[held_out],
        trained_on=tuple(name for i, name in enumerate(fonts) if i != held_out),
        pieces=len(both),
        seen_rows=len(parts[0].tier),
        unseen_rows=len(parts[1].tier),
        models={
            name: OnPianos(
                seen=values[0, n].within(-1, 1),
                unseen=values[1, n].within(-1, 1),
                fall=values[2, n].within(-2, 2),
                kept=values[3, n],
            )
            for n, name in enumerate(names)
        },
    )
