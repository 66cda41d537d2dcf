"""What the model of an earlier run said about the test rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.evaluation.model_names import BEST_FUSION
from keybed.experiments.evaluation.saved_predictions import PREDICTIONS, load_predictions
from keybed.store.errors import KeybedError

JUDGES = ("final fusion", BEST_FUSION)
"""Phase 4's last word, then any phase's."""


@dataclass(frozen=True, eq=False)
class Said:
    """prediction: (row, dimension), mean over seeds; spread: (row,), how far seeds disagree, mean over dimensions."""

    prediction: NDArray[np.float64]
    spread: NDArray[np.float64]


def read_said(run: Path, rows: NDArray[np.int64], judge: str | None = None) -> Said:
    """A judge's predictions of these rows, from RUN/predictions.npz; None: the first of JUDGES that is there.

    Raises KeybedError where the judge or some rows are missing.
    """
    saved = load_predictions(run)
    judge = judge or next((name for name in JUDGES if name in saved.by_model), BEST_FUSION)
    if judge not in saved.by_model:
        raise KeybedError(f"{run / PREDICTIONS} has no judge {judge!r}; it has {', '.join(saved.by_model)}")
    order = np.argsort(saved.index)
    known = saved.index[order]
    at = np.minimum(np.searchsorted(known, rows), max(known.size - 1, 0))
    if known.size == 0 or (known[at] != rows).any():
        raise KeybedError(f"{run / PREDICTIONS} lacks some test rows of this store; run its phase again on it")
    chosen = saved.by_model[judge][:, order[at]].astype(np.float64)
    return Said(chosen.mean(axis=0), chosen.std(axis=0).mean(axis=1))
