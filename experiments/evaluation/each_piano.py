"""How well models follow the scores on each piano (soundfont) of a store that has several."""

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
FEWEST_PIECES = 2
"""An interval over pieces needs as many."""


@dataclass(frozen=True)
class OnPiano:
    """Test rows with one soundfont, and each model's mean r on them; no model where they are of fewer than FEWEST_PIECES pieces."""

    soundfont: str
    held_out: bool
    """No training row has it."""
    rows: int
    pieces: int
    models: dict[str, Interval]


def each_piano(
    store: Store, rows: Rows, predictions: Predictions, names: Sequence[str], kind: Kind
) -> tuple[OnPiano, ...]:
    """One entry per soundfont, in the order of the recipe; none for a store with one soundfont or recorded audio.

    rows: those of the predictions, in their order. kind: of r.
    """
    fonts, held_out = soundfont_names(store.recipe.audio), held_out_soundfont(store.recipe.audio)
    return tuple(
        _on_piano(rows_of_models(predictions, rows.soundfont == number, names), font, number == held_out, kind)
        for number, font in enumerate(fonts)
    )


def _on_piano(part: Predictions, font: str, held_out: bool, kind: Kind) -> OnPiano:
    n_pieces = len(part.pieces)
    models: dict[str, Interval] = {}
    if n_pieces >= FEWEST_PIECES:
        correlations = Correlations(part, kind)

        def mean(pieces: Floats, seeds: Floats) -> Floats:
            return over_dimensions(over_seeds(correlations(pieces), seeds))

        found = intervals(mean, n_pieces, part.n_seeds)
        models = {name: value.within(-1, 1) for name, value in zip(part.names, found, strict=True)}
    return OnPiano(font, held_out, len(part.tier), n_pieces, models)
