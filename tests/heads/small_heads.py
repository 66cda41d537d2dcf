"""Heads small enough to train in a second, and how well they predict."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from keybed.heads import metrics
from keybed.heads.fit_config import FitConfig
from keybed.heads.inputs import HeadInput
from keybed.heads.models import HeadConfig

SMALL = {k: HeadConfig(k, hidden=16, n_attention_heads=2, dropout=0.02) for k in ("audio", "midi", "concat")}
CONFIG = FitConfig(epochs=12, batch_rows=32, learning_rate=2e-2, seeds=(0, 1), patience=0, resident_bytes=0)
SHORT = replace(CONFIG, epochs=3)


def mean_r(prediction: np.ndarray, rows: HeadInput) -> float:
    return float(np.mean(metrics.per_dimension("pearson", prediction, rows.score_BxK, rows.valid_BxK)))
