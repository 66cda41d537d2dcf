"""Predictions of a run, row by row: RUN/predictions.npz, for paired comparison with later runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.data.run_folder import DELETE_AND_RUN, RunDamaged, replace_run_file
from keybed.experiments.evaluation.cross_validation import CrossValidation
from keybed.experiments.evaluation.model_names import SHORTCUT, SWAP_AUDIO, SWAP_MIDI
from keybed.heads.npz_file import read_npz
from keybed.store.counted import counted
from keybed.store.errors import KeybedError
from keybed.store.format.vocabulary import DIMENSIONS

PREDICTIONS = "predictions.npz"
_MODEL = "said/"
"""Prefix of the predictions' arrays on disk."""
TRUTH = ("score", "valid", "tier", "segment", "piece", "difficulty")


class RowsDiffer(KeybedError):
    """Two runs predicted different rows, so that they cannot be paired."""


@dataclass(frozen=True, eq=False)
class SavedPredictions:
    """index: store row; fold: the fold that tested it; by_model: model -> predictions (seed, row, 8)."""

    index: NDArray[np.int64]
    fold: NDArray[np.int64]
    by_model: dict[str, NDArray[np.float32]]
    truth: dict[str, np.ndarray]
    """The labels of the rows, by the field names of `Predictions`."""

    def __repr__(self) -> str:
        rows, seeds = counted(len(self.index), "row"), counted(self.n_seeds, "seed")
        return f"<SavedPredictions: {rows}, {seeds}; {', '.join(self.by_model)}>"

    @property
    def n_seeds(self) -> int:
        """Seeds of every prediction."""
        return next(iter(self.by_model.values())).shape[0]


def save_predictions(run: Path, result: CrossValidation) -> Path:
    """Write the predictions of heads and composed models; shortcuts and swapped modalities are left out."""
    path = run / PREDICTIONS
    left_out = (SWAP_AUDIO, SWAP_MIDI)
    by_model = {
        n: p for n, p in result.predictions.by_model.items() if n not in left_out and not n.startswith(SHORTCUT)
    }
    fold = np.zeros(len(result.rows), np.int64) if result.predictions.fold is None else result.predictions.fold
    truth = {f"truth/{name}": getattr(result.predictions, name) for name in TRUTH}
    arrays = {"index": result.rows.index, "fold": fold} | truth | {f"{_MODEL}{name}": p for name, p in by_model.items()}
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
    if shapes != {(3, *index.shape, len(DIMENSIONS))} or any(c.shape[:1] != index.shape for c in columns):
        raise RunDamaged(f"{path} is damaged (its arrays are not of the same rows): {DELETE_AND_RUN}")
    return SavedPredictions(index, arrays["fold"], by_model, truth)


def same_rows(saved: SavedPredictions, index: NDArray[np.int64], where: Path) -> None:
    """Raises RowsDiffer unless the saved predictions are of exactly these rows in this order."""
    if not np.array_equal(saved.index, index):
        raise RowsDiffer(
            f"{where} predicted {counted(len(saved.index), 'row')}, not the {len(index)} of this run: run it again on this store"
        )
