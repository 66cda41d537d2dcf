"""Predictions of a run, row by row: RUN/predictions.npz, for paired comparison with later runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.data.run_folder import DELETE_AND_RUN, RunDamaged, replace_run_file
from keybed.experiments.evaluation.model_names import SHORTCUT, SWAP_AUDIO, SWAP_MIDI
from keybed.experiments.evaluation.predictions import Predictions
from keybed.heads.npz_file import read_npz
from keybed.store.counted import counted
from keybed.store.errors import KeybedError
from keybed.store.format.vocabulary import DIMENSIONS

PREDICTIONS = "predictions.npz"
_MODEL = "said/"
"""Prefix of the predictions' arrays on disk."""
_RATED = "dimensions"
"""Name of the array with the dimensions of ratings; absent where they are Keybed's eight."""
TRUTH = ("score", "valid", "tier", "segment", "piece", "difficulty")


class RowsDiffer(KeybedError):
    """Two runs predicted different rows, so that they cannot be paired."""


@dataclass(frozen=True, eq=False)
class SavedPredictions:
    """index: store row; fold: the fold that tested it; by_model: model -> predictions (seed, row, dimension)."""

    index: NDArray[np.int64]
    fold: NDArray[np.int64]
    by_model: dict[str, NDArray[np.float32]]
    truth: dict[str, np.ndarray]
    """The labels of the rows, by the field names of `Predictions`."""
    dimensions: tuple[str, ...] = DIMENSIONS
    """Names of the last axis; of a run on ratings those that were rated."""

    def __repr__(self) -> str:
        rows, seeds = counted(len(self.index), "row"), counted(self.n_seeds, "seed")
        return f"<SavedPredictions: {rows}, {seeds}; {', '.join(self.by_model)}>"

    @property
    def n_seeds(self) -> int:
        """Seeds of every prediction."""
        return next(iter(self.by_model.values())).shape[0]


def save_predictions(run: Path, predictions: Predictions, index: NDArray[np.int64]) -> Path:
    """Write the predictions of heads and composed models; shortcuts and swapped modalities are left out. index: store rows."""
    path = run / PREDICTIONS
    left_out = (SWAP_AUDIO, SWAP_MIDI)
    by_model = {n: p for n, p in predictions.by_model.items() if n not in left_out and not n.startswith(SHORTCUT)}
    fold = np.zeros(len(index), np.int64) if predictions.fold is None else predictions.fold
    truth = {f"truth/{name}": getattr(predictions, name) for name in TRUTH}
    arrays = {"index": index, "fold": fold} | truth | {f"{_MODEL}{name}": p for name, p in by_model.items()}
    if predictions.dimensions != DIMENSIONS:
        arrays[_RATED] = np.array(predictions.dimensions)
    with replace_run_file(path) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
    return path


def load_predictions(run: Path) -> SavedPredictions:
    """Inverse of `save_predictions`.

    Raises KeybedError where the run has none, FileDamaged where the file is cut or altered, RunDamaged where it lacks an array
    or its arrays do not fit together.
    """
    path = run / PREDICTIONS
    if not path.is_file():
        raise KeybedError(f"{path} is absent: {run} is no finished run of Phase 2, 3 or 4")
    arrays = read_npz(path, DELETE_AND_RUN)
    missing = [name for name in ("index", "fold", *(f"truth/{name}" for name in TRUTH)) if name not in arrays]
    if missing:
        raise RunDamaged(f"{path} is damaged (it holds no {missing[0]}): {DELETE_AND_RUN}")
    by_model = {name.removeprefix(_MODEL): values for name, values in arrays.items() if name.startswith(_MODEL)}
    truth = {name: arrays[f"truth/{name}"] for name in TRUTH}
    index, columns = arrays["index"], (arrays["fold"], *truth.values())
    shapes = {(values.ndim, *values.shape[1:]) for values in by_model.values()}
    dimensions = tuple(map(str, arrays[_RATED])) if _RATED in arrays else DIMENSIONS
    if shapes != {(3, *index.shape, len(dimensions))} or any(c.shape[:1] != index.shape for c in columns):
        raise RunDamaged(f"{path} is damaged (its arrays are not of the same rows): {DELETE_AND_RUN}")
    return SavedPredictions(index, arrays["fold"], by_model, truth, dimensions)


def same_rows(saved: SavedPredictions, index: NDArray[np.int64], where: Path) -> None:
    """Raises RowsDiffer unless the saved predictions are of exactly these rows in this order."""
    if not np.array_equal(saved.index, index):
        raise RowsDiffer(
            f"{where} predicted {counted(len(saved.index), 'row')}, not the {len(index)} of this run: run it again on this store"
        )
