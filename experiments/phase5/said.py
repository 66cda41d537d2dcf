"""What the model of an earlier run said about the test rows: RUN/predictions.npz."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from store.errors import KeybedError
from store.schema import DIMENSIONS


@dataclass(frozen=True, eq=False)
class Said:
    """prediction: (row, dimension), mean over seeds; spread: (row,), how far seeds disagree, mean over dimensions."""

    prediction: NDArray[np.float64]
    spread: NDArray[np.float64]


def read_said(run: Path, rows: NDArray[np.int64]) -> Said | None:
    """The run's predictions of these rows; None where it kept none.

    The file holds `row` (n,) and `prediction` (seed, n, 8). Raises KeybedError where rows are missing from it.
    """
    path = run / "predictions.npz"
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as kept:
        known, predicted = kept["row"].astype(np.int64), kept["prediction"].astype(np.float64)
    if predicted.ndim != 3 or predicted.shape[1:] != (known.size, len(DIMENSIONS)):
        raise KeybedError(
            f"{path}: prediction has shape {predicted.shape}, not (seeds, {known.size}, {len(DIMENSIONS)})"
        )
    order = np.argsort(known)
    at = np.minimum(np.searchsorted(known[order], rows), known.size - 1)
    if known.size == 0 or (known[order][at] != rows).any():
        raise KeybedError(f"{path} lacks predictions of some test rows; run Phase 4 again on this store")
    chosen = predicted[:, order[at]]
    return Said(chosen.mean(axis=0), chosen.std(axis=0).mean(axis=1))
