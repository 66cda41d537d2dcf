"""What a run's judges said, row by row: RUN/predictions.npz, for paired comparison with later runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.evaluation.cross_validation import CrossValidation
from keybed.experiments.evaluation.model_names import SHORTCUT, SWAP_AUDIO, SWAP_MIDI
from keybed.store.disk.durable import replace_file
from keybed.store.errors import KeybedError

PREDICTIONS = "predictions.npz"
TRUTH = ("score", "valid", "tier", "segment", "piece", "difficulty")


class RowsDiffer(KeybedError):
    """Two runs predicted different rows, so that they cannot be paired."""


@dataclass(frozen=True, eq=False)
class SavedPredictions:
    """index: store rows; fold: which fold judged them; by_model: model -> (seed, row, 8)."""

    index: NDArray[np.int64]
    fold: NDArray[np.int64]
    by_model: dict[str, NDArray[np.float32]]
    truth: dict[str, np.ndarray]
    """What `Predictions` needs to know of the rows, by its field names."""


def save_predictions(run: Path, trial: CrossValidation) -> Path:
    """Write heads' and composed judges' predictions aside and rename; shortcuts and swaps are left out."""
    path = run / PREDICTIONS
    left_out = (SWAP_AUDIO, SWAP_MIDI)
    said = {n: p for n, p in trial.predictions.by_model.items() if n not in left_out and not n.startswith(SHORTCUT)}
    fold = np.zeros(len(trial.rows), np.int64) if trial.predictions.fold is None else trial.predictions.fold
    truth = {f"truth/{name}": getattr(trial.predictions, name) for name in TRUTH}
    arrays = {"index": trial.rows.index, "fold": fold} | truth | {f"said/{name}": p for name, p in said.items()}
    with replace_file(path) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
    return path


def load_predictions(run: Path) -> SavedPredictions:
    """Inverse of `save_predictions`. Raises KeybedError where the run has none."""
    path = run / PREDICTIONS
    if not path.is_file():
        raise KeybedError(f"{path} is absent: {run} is no finished run of Phase 2, 3 or 4")
    with np.load(path, allow_pickle=False) as arrays:
        said = {name.removeprefix("said/"): arrays[name] for name in arrays.files if name.startswith("said/")}
        truth = {name: arrays[f"truth/{name}"] for name in TRUTH}
        return SavedPredictions(arrays["index"], arrays["fold"], said, truth)


def same_rows(saved: SavedPredictions, index: NDArray[np.int64], where: Path) -> None:
    """Raises RowsDiffer unless the saved predictions are about exactly these rows in this order."""
    if not np.array_equal(saved.index, index):
        raise RowsDiffer(
            f"{where} predicted {len(saved.index)} rows, not the {len(index)} of this run: run it again on this store"
        )
