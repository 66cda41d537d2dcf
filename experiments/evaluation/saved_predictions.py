"""Predictions of a run, row by row: RUN/predictions.npz, for paired comparison with later runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.evaluation.cross_validation import CrossValidation
from keybed.experiments.evaluation.model_names import SHORTCUT, SWAP_AUDIO, SWAP_MIDI
from keybed.store.counted import counted
from keybed.store.disk.durable import replace_file
from keybed.store.errors import KeybedError

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
    with replace_file(path) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
    return path


def load_predictions(run: Path) -> SavedPredictions:
    """Inverse of `save_predictions`. Raises KeybedError where the run has none."""
    path = run / PREDICTIONS
    if not path.is_file():
        raise KeybedError(f"{path} is absent: {run} is no finished run of Phase 2, 3 or 4")
    with np.load(path, allow_pickle=False) as arrays:
        by_model = {name.removeprefix(_MODEL): arrays[name] for name in arrays.files if name.startswith(_MODEL)}
        truth = {name: arrays[f"truth/{name}"] for name in TRUTH}
        return SavedPredictions(arrays["index"], arrays["fold"], by_model, truth)


def same_rows(saved: SavedPredictions, index: NDArray[np.int64], where: Path) -> None:
    """Raises RowsDiffer unless the saved predictions are of exactly these rows in this order."""
    if not np.array_equal(saved.index, index):
        raise RowsDiffer(
            f"{where} predicted {counted(len(saved.index), 'row')}, not the {len(index)} of this run: run it again on this store"
        )
