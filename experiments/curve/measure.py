"""From the predictions of all cells to correlations with intervals, fitted curves and the answer on rows and pieces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.curve.cells import CellPredictions
from keybed.experiments.curve.training_sets import FEWEST_ROWS, PIECES, SAME_ROWS, Cell
from keybed.experiments.evaluation.curve_results import BEST_HEAD, GROUPS, RIDGE, Binding, CellResults
from keybed.experiments.evaluation.intervals import REPLICATES, Interval, intervals, resample
from keybed.experiments.evaluation.learning_curve import Extrapolation, Needed, extrapolate, needed
from keybed.experiments.evaluation.model_names import SINGLES, SPECIALISTS
from keybed.experiments.evaluation.predictions import Correlations, Predictions, over_dimensions, over_seeds
from keybed.experiments.phases.phase4_criteria import INTERPRETIVE_R, TECHNICAL_MEAN
from keybed.store.format.vocabulary import AXIS_DIMENSIONS, TECHNICAL

Floats = NDArray[np.float64]
MODELS = (BEST_HEAD, SPECIALISTS, RIDGE, *SINGLES)
CURVES = (BEST_HEAD, SPECIALISTS, RIDGE)
TARGETS = {"technical": TECHNICAL_MEAN, "interpretive": INTERPRETIVE_R}
_COLUMNS = {
    "mean of the seven": tuple(range(len(AXIS_DIMENSIONS))),
    "technical": tuple(AXIS_DIMENSIONS.index(d) for d in TECHNICAL),
    "interpretive": (AXIS_DIMENSIONS.index("musical_expression"),),
}
_CHUNK = 250
SAME_WITHIN = 1.5
"""Training sets count as equally large up to this ratio of their rows."""
UNDEFINED = Interval(float("nan"), float("nan"), float("nan"))
TOO_FEW_SEGMENTS = "rows and pieces cannot be told apart, because pieces have too few segments"


class Measurements:
    """Specific r of every cell and model, for any weights of the test pieces and draws: paired by construction."""

    def __init__(self, cells: Sequence[CellPredictions], of_rows: Predictions) -> None:
        """of_rows: the labels of the test rows in the order of the cells' predictions, with their fold."""

        self.cells = {c.cell: c for c in cells}
        self.names = [(c.cell, model) for c in cells for model in MODELS]
        by_model = {f"{c.cell.name}: {model}": c.by_model[model] for c in cells for model in MODELS}
        self._r = Correlations(replace(of_rows, by_model=by_model), "specific")

    def statistic(self, pieces: Floats, draws: Floats) -> Floats:
        """(B, group + dimension, cell × model): means over the groups' dimensions, then each dimension."""
        r = over_seeds(self._r(pieces), draws)
        means = [over_dimensions(r[:, list(columns)]) for columns in (_COLUMNS[g] for g in GROUPS)]
        return np.concatenate([np.stack(means, axis=1), r], axis=1)

    def tables(self) -> list[CellResults]:
        """Every cell with its intervals."""
        values = intervals(self.statistic, self._r.n_pieces, self._r.n_seeds)
        results = []
        for cell, of_cell in self.cells.items():
            at = {model: self.names.index((cell, model)) for model in MODELS}
            results.append(
                CellResults(
                    cell.pieces,
                    cell.segments,
                    of_cell.n_pieces,
                    of_cell.n_segments,
                    of_cell.n_rows,
                    {g: {model: values[i, n] for model, n in at.items()} for i, g in enumerate(GROUPS)},
                    {d: values[len(GROUPS) + k, at[BEST_HEAD]] for k, d in enumerate(AXIS_DIMENSIONS)},
                )
            )
        return results

    def curves(self) -> tuple[dict[str, dict[str, Extrapolation]], dict[str, dict[str, Needed]]]:
        """group → model → extrapolation over the number of whole pieces, and what Phase 4's threshold needs."""
        cells = [c for c in PIECES if c in self.cells]
        sizes = np.array([self.cells[c].n_segments for c in cells])
        point = self.statistic(np.ones((1, self._r.n_pieces)), np.ones((1, self._r.n_seeds)))[0]
        pieces, draws = resample(self._r.n_pieces, self._r.n_seeds, REPLICATES, seed=0)
        drawn = np.concatenate(
            [self.statistic(pieces[i : i + _CHUNK], draws[i : i + _CHUNK]) for i in range(0, len(pieces), _CHUNK)]
        )
        curves: dict[str, dict[str, Extrapolation]] = {}
        targets: dict[str, dict[str, Needed]] = {group: {} for group in TARGETS}
        for i, group in enumerate(GROUPS):
            curves[group] = {}
            for model in CURVES:
                at = [self.names.index((c, model)) for c in cells]
                curves[group][model] = extrapolate(sizes, point[i, at], drawn[:, i, at])
                if group in TARGETS:
                    targets[group][model] = needed(sizes, point[i, at], drawn[:, i, at], TARGETS[group])
        return curves, targets

    def binding(self, model: str) -> Binding:
        """Whether more pieces help this model at the same number of rows, and more rows at the same pieces.

        Undefined where a piece has so few segments that no part of them gives the same number of rows.
        """
        few, _, spread = SAME_ROWS
        fewest, thinnest = FEWEST_ROWS
        every = Cell(16, 16)
        pairs = ((spread, few), (thinnest, fewest), (every, spread), (every, few))
        at = [[self.names.index((c, model)) for c in pair] for pair in pairs]

        def differences(pieces: Floats, draws: Floats) -> Floats:
            mean = self.statistic(pieces, draws)[:, 0]
            return np.stack([mean[:, a] - mean[:, b] for a, b in at], axis=1)

        more_pieces, at_fewest, more_rows, both = intervals(differences, self._r.n_pieces, self._r.n_seeds)
        if self._rows_differ(spread, few):
            more_pieces = more_rows = UNDEFINED
        if self._rows_differ(thinnest, fewest):
            at_fewest = UNDEFINED
        return decide(more_pieces, at_fewest, more_rows, both)

    def _rows_differ(self, many_pieces: Cell, few_pieces: Cell) -> bool:
        return self.cells[many_pieces].n_rows > SAME_WITHIN * self.cells[few_pieces].n_rows


def decide(more_pieces: Interval, at_fewest: Interval, more_rows: Interval, both: Interval) -> Binding:
    """Pieces bind where they help at the same rows at least as much as rows at the same pieces."""
    shared = {"more_pieces": more_pieces, "fewest": at_fewest, "more_rows": more_rows, "both": both}
    if not np.isfinite(more_pieces.value):
        return Binding(**shared, word="neither", words=TOO_FEW_SEGMENTS)
    if more_pieces.above_zero and more_pieces.value >= more_rows.value:
        return Binding(**shared, word="pieces", words="pieces bind more than rows")
    if more_rows.above_zero:
        words = "rows bind more than pieces" if more_pieces.above_zero else "rows bind, not pieces"
        return Binding(**shared, word="rows", words=words)
    return Binding(**shared, word="neither", words="neither more rows nor more pieces are shown to help")
