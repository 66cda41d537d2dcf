"""The card on errors of the two single-modality heads: their correlation, and the gain of fusion that it allows."""

from __future__ import annotations

import numpy as np

from keybed.experiments.evaluation.decimals import number
from keybed.experiments.evaluation.intervals import Interval
from keybed.experiments.evaluation.model_names import SINGLES
from keybed.experiments.evaluation.residuals import ErrorPair
from keybed.experiments.reports.figure import label
from keybed.experiments.reports.page import Cell, Section, Table, with_interval


def error_section(pairs: dict[str, ErrorPair], specialists: dict[str, str]) -> Section:
    """One row per dimension. specialists: dimension -> the single modality chosen for it most often."""
    rows: list[list[Cell]] = [
        [
            label(dimension),
            specialists.get(dimension, "–"),
            with_interval(pair.correlation, 2),
            *[number(pair.error[m].value, 1) for m in SINGLES],
            _percent(pair.allowed),
            _percent(pair.reached),
        ]
        for dimension, pair in pairs.items()
    ]
    head = [
        "dimension",
        "specialist",
        "correlation of errors",
        *[f"error, {label(m)}" for m in SINGLES],
        "best weighting allows",
        "fusion reaches",
    ]
    return Section(
        "Do the two modalities err together?",
        [
            "Correlation of the residuals (prediction − score) of the audio head and the MIDI head on all valid test rows, and "
            "the standard deviation of each head’s residuals in points of 100.",
            "“Best weighting allows”: how much less error variance than the better head the best fixed weights of the two "
            "heads’ predictions would have. “Fusion reaches”: how much less the best fusion has. " + in_words(pairs),
        ],
        tables=[Table(head, rows, numeric=tuple(range(2, len(head))))],
        wide=True,
    )


def in_words(pairs: dict[str, ErrorPair]) -> str:
    """One sentence on what the table means for fusion."""
    gains = {d: pair.allowed.value for d, pair in pairs.items() if np.isfinite(pair.allowed.value)}
    if not gains:
        return "No dimension has valid rows, so nothing can be said about fusion."
    worth = [d for d, share in gains.items() if share >= WORTH]
    listed = ", ".join(label(d) for d in worth)
    if not worth:
        return (
            f"No dimension allows {100 * WORTH:.0f} %: the weaker head’s errors hold little that corrects the better one, "
            "so picking the better head per dimension (the specialists) is as good as weighting both."
        )
    return f"Weighting both heads is worth {100 * WORTH:.0f} % or more in {listed}; elsewhere the specialist alone is as good."


WORTH = 0.05
"""A gain of error variance below this share is called none in words."""


def _percent(share: Interval) -> str:
    if not np.isfinite(share.value):
        return "undefined"
    value, low, high = (f"{100 * v:.1f}".replace("-", "−") for v in (share.value, share.low, share.high))
    return f"{value} %" if not np.isfinite(share.low) else f"{value} % ({low} to {high})"
