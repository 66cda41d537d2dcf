"""The line of `labels.jsonl` that describes one exported row."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keybed.extract.audio.waveform import RenderedRow
from keybed.store.format.vocabulary import COVARIATES, DIMENSIONS, LEVELS, SPLITS, TIERS, WAVEFORM_MEASURES


def label(
    recording: Mapping[str, Any],
    *,
    segment: int,
    start_s: float,
    window_s: float,
    level_drawn: NDArray[np.float32],
    row: RenderedRow,
) -> dict[str, Any]:
    """All that is known of one row, ready for JSON; `midi` and `audio` are None until their files are written.

    recording: its entry in the store's recordings.json. level_drawn: float32 (8,). Scores, levels and measures are
    named; NaN becomes None.
    """
    assert recording["split"] in SPLITS
    variant = row.variant
    return {
        "midi": None,
        "audio": None,
        "segment": segment,
        "tier": TIERS[variant.tier],
        "split": recording["split"],
        "piece": recording["piece"],
        "piece_name": recording["piece_name"],
        "recording": recording["recording"],
        "source_midi": recording["midi"],
        "start_s": round(start_s, 6),
        "window_s": window_s,
        "status": row.status.name,
        "reason": row.reason,
        "n_notes": variant.n_notes,
        "score": _named(DIMENSIONS, variant.score),
        "valid": {name: bool(value) for name, value in zip(DIMENSIONS, variant.valid, strict=True)},
        "level": _named(LEVELS, variant.level),
        "level_drawn": _named(LEVELS, level_drawn),
        "difficulty": _named(COVARIATES, variant.difficulty),
        "waveform": _named(WAVEFORM_MEASURES, row.waveform),
    }


def _named(names: Sequence[str], values: NDArray[np.float32]) -> dict[str, float | None]:
    """Values by name, with the seven digits that a float32 holds; JSON has no NaN."""
    return {
        name: float(f"{value:.7g}") if math.isfinite(value) else None
        for name, value in zip(names, values.tolist(), strict=True)
    }
