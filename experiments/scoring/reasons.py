"""Which dimensions of a window are not judged, and why: the rules of the store's rows, in words."""

from __future__ import annotations

from keybed.experiments.scoring.results import Reason
from keybed.extract.audio.waveform import RenderedRow
from keybed.extract.degrade.labels import FEWEST_NOTES
from keybed.store.format.vocabulary import DIMENSIONS, Status

_RULE: dict[str, Reason] = {
    "note_accuracy": "few notes",
    "rhythmic_stability": "few notes",
    "articulation_clarity": "few releases",
    "pedal_technique": "few pedal lifts",
    "tone_quality": "no notes",
    "dynamic_range": "even velocity",
    "musical_expression": "even loudness",
    "overall_interpretation": "too little judged",
}
"""The rule of each dimension, where there are notes enough."""


def row_reasons(row: RenderedRow) -> tuple[Reason | None, ...]:
    """For each dimension why the row rules leave it out, None where they do not."""
    if row.status != Status.OK:
        return ("no notes" if row.status == Status.NO_NOTES else "no sound",) * len(DIMENSIONS)
    few = row.variant.n_notes < FEWEST_NOTES
    made: list[Reason | None] = []
    for name, valid in zip(DIMENSIONS, row.variant.valid.tolist(), strict=True):
        rule = _RULE[name]
        made.append(None if valid else "few notes" if few and rule in ("even velocity", "even loudness") else rule)
    return tuple(made)
