"""What `phase5 select` tells about the sample that it drew: power, score ranges, label correlations. No answers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.listening.config import SelectConfig
from keybed.experiments.listening.model_predictions import ModelPredictions
from keybed.experiments.listening.power import power
from keybed.experiments.listening.stratified_sample import (
    Candidates,
    label_correlations,
    shares_of_ranges,
    thirds_of_uncertainty,
)
from keybed.store.format.vocabulary import AXIS_DIMENSIONS

ASSUMED_RELIABILITY = 0.7
"""Assumed reliability of the mean of three to four raters; `ingest` measures it."""


def sample_facts(
    config: SelectConfig,
    candidates: Candidates,
    chosen: NDArray[np.int64],
    anchors: NDArray[np.int64],
    predictions: ModelPredictions | None,
) -> dict[str, Any]:
    """The numbers of design.json and design.html."""
    r = label_correlations(candidates.score[chosen], candidates.valid[chosen])
    before = label_correlations(candidates.score, candidates.valid)
    off = ~np.eye(len(r), dtype=bool)
    of_piece = np.unique(candidates.piece[chosen], return_counts=True)[1]
    return {
        "n": config.n,
        "n_pieces": of_piece.size,
        "n_anchors": len(anchors),
        "repeats": config.repeats,
        "raters": list(config.raters),
        "seed": config.seed,
        "model_known": predictions is not None,
        "pristine_share": float(candidates.pristine[chosen].mean()),
        "label_correlations": r,
        "largest_label_correlation": float(np.abs(r[off]).max()),
        "label_correlations_before": before,
        "largest_before": float(np.abs(before[off]).max()),
        "clips_of_a_piece": [int(of_piece.min()), int(of_piece.max())],
        "sure_middle_unsure": thirds_of_uncertainty(candidates.unsure[chosen]),
        "score_ranges": dict(
            zip(AXIS_DIMENSIONS, shares_of_ranges(candidates.score[chosen], candidates.valid[chosen]).T, strict=True)
        ),
        "score_quantiles": {
            name: np.quantile(candidates.score[chosen][candidates.valid[chosen, k], k], [0, 0.25, 0.5, 0.75, 1])
            for k, name in enumerate(AXIS_DIMENSIONS)
            if candidates.valid[chosen, k].any()
        },
        "judgeable": {name: int(candidates.valid[chosen, k].sum()) for k, name in enumerate(AXIS_DIMENSIONS)},
        "power": _power(config.n),
        "trial": config.trial,
        "drawn_from": "all rows of the store" if config.trial else "the whole test split",
    }


def _power(n: int) -> dict[str, Any] | None:
    """Power of n clips; None where n is too small for a partial correlation given six others."""
    controls = len(AXIS_DIMENSIONS) - 1
    if n < 4 + controls:
        return None
    strength, specific = power(n, ASSUMED_RELIABILITY), power(n, ASSUMED_RELIABILITY, controls=controls)
    return {
        "assumed_reliability": ASSUMED_RELIABILITY,
        "smallest_r": strength.smallest_r,
        "smallest_true_r": strength.smallest_true_r,
        "smallest_specific_r": specific.smallest_r,
        "interval_at_half": strength.interval_at_half,
    }
