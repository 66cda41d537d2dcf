"""Shortcut baselines: ridge regression on one covariate each (SNR, loudness, note count, duration, difficulty, tier).

Each is fitted on training rows to all eight scores, from the covariate, its square and its tanh. The report marks a head that
is not better than the best shortcut of a dimension.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from keybed.store.format.rows import Rows
from keybed.store.format.vocabulary import LEVELS, TIERS, WAVEFORM_MEASURES

IN_WORDS = {
    "snr": "the noise level alone",
    "loudness": "the loudness alone (RMS, peak and the gain that normalisation applied)",
    "note_count": "the number of notes alone",
    "duration": "the duration alone (the share of the window that sounds, the mean length of the notes)",
    "difficulty": "the difficulty of the original alone",
    "tier": "the tier (quality band) alone, which any detector of degradation reaches",
}
NOT_A_SHORTCUT = {"snr": "tone_quality"}
"""The noise level is the label of tone_quality, so it is no shortcut for that dimension."""


def columns(rows: Rows, duration: NDArray[np.floating]) -> dict[str, NDArray[np.float64]]:
    """Inputs of each shortcut, (row, feature); duration: the two columns of `keybed.experiments.data.durations`."""
    loudness = [WAVEFORM_MEASURES.index(name) for name in ("rms_dbfs", "peak_dbfs", "gain_db")]
    inputs = {
        "snr": rows.level[:, [LEVELS.index("tone")]],
        "loudness": rows.waveform[:, loudness],
        "note_count": rows.n_notes[:, None],
        "duration": duration,
        "difficulty": rows.difficulty,
        "tier": rows.tier[:, None] == np.arange(len(TIERS)),
    }
    return {name: np.asarray(values, dtype=np.float64) for name, values in inputs.items()}


def fit_predict(
    train: NDArray[np.float64],
    test: NDArray[np.float64],
    score: NDArray[np.floating],
    valid: NDArray[np.bool_],
    weight: NDArray[np.floating],
) -> NDArray[np.float32]:
    """Predictions (row, dimension) for test from a weighted ridge fit (penalty 1e-3 per row) on the covariate, its square and tanh.

    scikit-learn's Ridge gives the same numbers; the phases do without it, so it is no library of theirs.
    """
    mean, sd = np.nanmean(train, axis=0), np.nanstd(train, axis=0)
    sd = np.where(sd > 1e-9, sd, 1)

    def expand(values: NDArray[np.float64]) -> NDArray[np.float64]:
        z = np.clip(np.nan_to_num((values - mean) / sd), -6, 6)
        return np.hstack([np.ones((len(z), 1)), z, z**2, np.tanh(2 * z)])

    x_train, x_test = expand(train), expand(test)
    predicted = np.zeros((len(test), score.shape[1]), dtype=np.float32)
    for k in range(score.shape[1]):
        rows = valid[:, k] & np.isfinite(score[:, k])
        if not rows.any():
            continue
        x, w = x_train[rows], weight[rows, None].astype(np.float64)
        gram = x.T @ (w * x)
        penalty = 1e-3 * w.sum() * np.eye(len(gram))
        penalty[0, 0] = 0
        predicted[:, k] = x_test @ np.linalg.solve(gram + penalty, x.T @ (w[:, 0] * score[rows, k].astype(np.float64)))
    return predicted
