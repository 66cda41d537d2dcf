"""The card on errors of the two single-modality heads: their correlation, and the gain of fusion that it allows."""

from __future__ import annotations

import numpy as np

from keybed.experiments.evaluation.decimals import number
from keybed.experiments.evaluation.intervals import Interval
from keybed.experiments.evaluation.model_names import SINGLES
from keybed.experiments.evaluation.residuals import ErrorPair
from keybed.experiments.reports.figure import label
from keybed.experiments.reports.page import Cell, Section, Table, with_interval


def error_section(pairs: dict[str, ErrorPair], specialists: dict[str, str] | None = None) -> Section:
    """One row per dimension. specialists: dimension -> the single modality chosen for it most often; without them no column."""
    rows: list[list[Cell]] = [
        [
            label(dimension),
            *([] if specialists is None else [specialists[dimension]]),
            with_interval(pair.correlation, 2),
            *[number(pair.error[m].value, 1) for m in SINGLES],
            _percent(pair.allowed),
            _percent(pair.reached),
        ]
        for dimension, pair in pairs.items()
    ]
    head = [
        "dimension",
        *([] if specialists is None else ["specialist"]),
        "correlation of errors",
        *[f"error, {label(m)}" for m in SINGLES],
        "best weighting allows",
        "fusion reaches",
    ]
    return Section(
        "Errors of the audio head and of the MIDI head",
        "Whether ear and keys misjudge the same performances: only where they differ can one correct the other.",
        [
            "Correlation of the residuals (prediction − score) of the audio head and the MIDI head on test rows that are not "
            "pristine, and the standard deviation of each head’s residuals in points of 100.",
            "“Best weighting allows”: how much less error variance than the better head the best fixed weights of the two "
            "heads’ predictions would have: an upper bound, since the weights are chosen on the same rows. “Fusion reaches”: how much less the best fusion has. "
            + in_words(pairs),
        ],
        tables=[Table(head, rows, numeric=tuple(range(len(head) - 5, len(head))))],
        wide=True,
    )


def in_words(pairs: dict[str, ErrorPair]) -> str:
    """What the table means for fusion, in two sentences."""
    known = {d: pair for d, pair in pairs.items() if np.isfinite(pair.allowed.value)}
    if not known:
        return "No dimension has valid rows that are not pristine, so nothing can be said about fusion."
    worth = ", ".join(label(d) for d, pair in known.items() if pair.allowed.value >= WORTH)
    reached = ", ".join(label(d) for d, pair in known.items() if pair.reached.above_zero)
    return (
        f"Weighting could gain {100 * WORTH:.0f} % or more in {worth or 'no dimension'}. The fusion errs less than the better "
        f"head, with its whole interval, in {reached or 'no dimension'}; elsewhere the specialist alone is as good."
    )


WORTH = 0.05
"""A smaller share of the error variance is not named in words."""


def _percent(share: Interval) -> str:
    if not np.isfinite(share.value):
        return "undefined"
    value, low, high = (f"{100 * v:.1f}".replace("-", "−") for v in (share.value, share.low, share.high))
    return f"{value} %" if not np.isfinite(share.low) else f"{value} % ({low} to {high})"
