"""Predictions of the test rows by the model of an earlier run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.evaluation.model_names import BEST_FUSION, FINAL_FUSION
from keybed.experiments.evaluation.saved_predictions import PREDICTIONS, load_predictions
from keybed.store.errors import KeybedError

PREFERRED_MODELS = (FINAL_FUSION, BEST_FUSION)
"""Phase 4's model, then the best fusion of any phase."""


@dataclass(frozen=True, eq=False)
class ModelPredictions:
    """prediction: (row, dimension), mean over seeds; spread: (row,), standard deviation over seeds, mean over dimensions."""

    prediction: NDArray[np.float64]
    spread: NDArray[np.float64]


def read_model_predictions(run: Path, rows: NDArray[np.int64]) -> ModelPredictions:
    """Read predictions of these rows from RUN/predictions.npz, of the first of PREFERRED_MODELS that is in the file.

    Raises KeybedError where the file has no such model or lacks some of the rows.
    """
    saved = load_predictions(run)
    model = next((name for name in PREFERRED_MODELS if name in saved.by_model), BEST_FUSION)
    if model not in saved.by_model:
        raise KeybedError(f"{run / PREDICTIONS} has no model {model!r}; it has {', '.join(saved.by_model)}")
    order = np.argsort(saved.index)
    known = saved.index[order]
    positions = np.minimum(np.searchsorted(known, rows), max(known.size - 1, 0))
    if known.size == 0 or (known[positions] != rows).any():
        raise KeybedError(f"{run / PREDICTIONS} lacks some test rows of this store; run its phase again on it")
    by_seed = saved.by_model[model][:, order[positions]].astype(np.float64)
    return ModelPredictions(by_seed.mean(axis=0), by_seed.std(axis=0).mean(axis=1))
