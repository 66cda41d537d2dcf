"""Train heads and ridge on one training set after another, and predict the test pieces of every fold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.curve.repeated_data import RepeatedData
from keybed.experiments.curve.training_sets import Cell, training_set
from keybed.experiments.data.features import Features
from keybed.experiments.data.folds import Fold
from keybed.experiments.data.run_folder import DELETE_AND_RUN, RunDamaged, replace_run_file
from keybed.experiments.evaluation.cross_validation import Budget, head_configs, scored_rows
from keybed.experiments.evaluation.curve_results import BEST_HEAD, RIDGE
from keybed.experiments.evaluation.model_names import SINGLES, SPECIALISTS
from keybed.experiments.evaluation.model_selection import choose, compose
from keybed.heads import fitted, train
from keybed.heads.inputs import HeadInput
from keybed.heads.npz_file import read_npz
from keybed.heads.ridge import RidgeProbe, both_frames

FUSION = "concat"
HEADS = (*SINGLES, FUSION)
"""Concatenation stands for all fusions: it trains in a third of the time of all five heads, and none of them was better by
more than 0.001 mean specific r on 8,000 rows."""
_RIDGE_ROWS = 1024


@dataclass(frozen=True, eq=False)
class CellPredictions:
    """One cell, all folds and draws. by_model: (draw, row, 8) in the order of the folds' test rows, joined.

    n_pieces, n_segments, n_rows: of the training set, means over folds and draws.
    """

    cell: Cell
    by_model: dict[str, NDArray[np.float32]]
    n_pieces: float
    n_segments: float
    n_rows: float


class CellTrainer:
    """Trains every cell of the curve on the same folds; finished cells are kept in `folder`, one file each."""

    def __init__(
        self, features: Features, folds: Sequence[Fold], budget: Budget, *, seed: int, fingerprint: str, folder: Path
    ) -> None:
        self.features, self.folds, self.budget = features, folds, budget
        self.seed, self.fingerprint, self.folder = seed, fingerprint, folder
        self.n_train_rows = max(len(fold.train) for fold in folds)
        self.config = budget.fit_config(self.n_train_rows)

    def run(self, cell: Cell, tick: Callable[[], None]) -> CellPredictions:
        """Predictions of this cell; `tick` is called after each of its `folds × draws` fits."""
        path = self.folder / f"{cell.name.replace('/', '-of-').replace(', ', '-').replace(' ', '-')}.npz"
        if path.is_file():
            for _ in range(len(self.folds) * self.budget.seeds):
                tick()
            return _read(cell, path)
        parts, sizes = [], []
        for f, fold in enumerate(self.folds):
            draws = []
            for draw in range(self.budget.seeds):
                chosen = training_set(self.features.rows, fold.train, cell, (self.seed, draw, f))
                draws.append(self._fit(chosen, fold, draw) | {RIDGE: ridge_predictions(self.features, chosen, fold)})
                sizes.append(self._size(chosen))
                tick()
            parts.append({name: np.stack([d[name] for d in draws]) for name in draws[0]})
        by_model = {name: np.concatenate([p[name] for p in parts], axis=1) for name in parts[0]}
        result = CellPredictions(cell, by_model, *np.mean(sizes, axis=0).tolist())
        self.folder.mkdir(parents=True, exist_ok=True)
        with replace_run_file(path) as file:
            size = np.array([result.n_pieces, result.n_segments, result.n_rows])
            np.savez(file, size=size, **by_model)  # type: ignore[arg-type]
        return result

    def _size(self, chosen: NDArray[np.int64]) -> tuple[int, int, int]:
        rows = self.features.rows
        return len(np.unique(rows.piece[chosen])), len(np.unique(rows.segment[chosen])), len(chosen)

    def _fit(self, chosen: NDArray[np.int64], fold: Fold, draw: int) -> dict[str, NDArray[np.float32]]:
        """Predictions (row, 8) of the fold's test rows by the heads and the models composed of them."""
        config = replace(self.config, seeds=(draw,))
        size = config.batch_rows
        data = RepeatedData(self.features, chosen, fold.validation, size, self.n_train_rows)
        heads = head_configs(HEADS, self.budget, "frames")
        fit = train.fit(heads, data, config, store=self.fingerprint)
        validation = scored_rows(self.features.rows.take(fold.validation), fitted.predict(fit, data.validation()))
        choice = choose(validation, (FUSION,))
        predicted = fitted.predict(fit, self.features.batches(fold.test, size))
        best = max(HEADS, key=lambda name: choice.validation[name])
        predicted = {**predicted, SPECIALISTS: compose(predicted, choice)[SPECIALISTS], BEST_HEAD: predicted[best]}
        return {name: values[0] for name, values in predicted.items()}


def ridge_predictions(features: Features, chosen: NDArray[np.int64], fold: Fold) -> NDArray[np.float32]:
    """Scores (row, 8) of the fold's test rows by ridge on the mean and sd over bins of both encoders, fitted on `chosen`."""
    probe = RidgeProbe()
    for part, positions in (("train", chosen), ("validation", fold.validation)):
        for batch in features.batches(positions, _RIDGE_ROWS):
            probe.add(part, _statistics(batch), batch.score_BxK, batch.valid_BxK, batch.weight_B)
    solved = probe.solve([(["train"], ["validation"])], fit_on=["train"])
    return np.concatenate([solved.predict(_statistics(b)) for b in features.batches(fold.test, _RIDGE_ROWS)])


def _statistics(batch: HeadInput) -> dict[str, NDArray]:
    """One block (row, 1, width): mean and sd together, so that one system is solved and not three."""
    frames = both_frames(batch)["both"]
    return {"both": frames.reshape(len(frames), 1, -1)}


def _read(cell: Cell, path: Path) -> CellPredictions:
    arrays = read_npz(path, DELETE_AND_RUN)
    size = arrays.pop("size", np.zeros(0))
    if set(arrays) != {*HEADS, SPECIALISTS, BEST_HEAD, RIDGE} or size.shape != (3,):
        raise RunDamaged(f"{path} is damaged (its arrays are others than a cell has): {DELETE_AND_RUN}")
    return CellPredictions(cell, arrays, *size.tolist())
