"""Phase 4's criteria: technical and interpretive dimensions, fusion gain, and the plan's literal targets in plain r."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from keybed.experiments.evaluation import criterion_names as names
from keybed.experiments.evaluation.criteria import Criterion, at_least, more_than
from keybed.experiments.evaluation.decimals import number
from keybed.experiments.evaluation.gates import Gate, Override, make_gate
from keybed.experiments.evaluation.intervals import Interval
from keybed.experiments.evaluation.model_names import FINAL_FUSION
from keybed.experiments.evaluation.phase4_results import Phase4Results
from keybed.experiments.evaluation.unseen_piano import UnseenPiano
from keybed.store.counted import counted
from keybed.store.format.vocabulary import INTERPRETIVE, TECHNICAL

TECHNICAL_MEAN, TECHNICAL_EACH, INTERPRETIVE_R, GAIN = 0.50, 0.20, 0.35, 0.15
KEPT_ON_UNSEEN_PIANO = 0.9
"""Share of the seen pianos' mean specific r; shown, and part of no verdict."""


def phase4_criteria(results: Phase4Results) -> list[Criterion]:
    """Every criterion of the gate, in the order of the report."""
    table, gain = results.specific[FINAL_FUSION], results.gain.specific
    worst = min(TECHNICAL, key=lambda d: np.nan_to_num(table[d].value, nan=-1))
    listed = ", ".join(f"{d.split('_')[0]} {number(table[d].value, 2)}" for d in TECHNICAL)
    criteria = [
        more_than(names.TECHNICAL_MEAN, results.technical, TECHNICAL_MEAN, f"specific r: {listed}"),
        more_than(names.TECHNICAL_EACH, table[worst], TECHNICAL_EACH, f"weakest: {worst.replace('_', ' ')}"),
        more_than(names.INTERPRETIVE, table["musical_expression"], INTERPRETIVE_R, "specific r"),
        at_least(names.GAIN_FINAL, gain.relative, GAIN, gain.arithmetic, above_zero=True),
    ]
    if results.unseen_piano is not None:
        criteria.append(_on_unseen_piano(results.unseen_piano))
    return criteria


def _on_unseen_piano(unseen: UnseenPiano) -> Criterion:
    """Shown only: the soundfonts are few, and a store without a held-out one has no such number."""
    final = unseen.models[FINAL_FUSION]
    words = (
        f"mean specific r {number(final.unseen.value)} on {unseen.held_out} / {number(final.seen.value)} on "
        f"{', '.join(unseen.trained_on)}, {counted(unseen.pieces, 'piece')}"
    )
    kept = final.kept
    if not final.seen.above_zero:  # a share of nothing
        kept, words = Interval(*(float("nan"),) * 3), f"{words}; r on the seen pianos is not surely above 0"
    return replace(at_least(names.UNSEEN_PIANO, kept, KEPT_ON_UNSEEN_PIANO, words), required=False)


def literal_criteria(results: Phase4Results) -> list[Criterion]:
    """The plan's targets in plain r."""
    table, gain = results.plain[FINAL_FUSION], results.gain.literal

    def mean(dimensions: tuple[str, ...]) -> Interval:
        return Interval(float(np.nanmean([table[d].value for d in dimensions])), float("nan"), float("nan"))

    return [
        more_than(names.LITERAL_TECHNICAL, mean(TECHNICAL), TECHNICAL_MEAN, "mean plain r of the four"),
        more_than(names.LITERAL_INTERPRETIVE, mean(INTERPRETIVE), INTERPRETIVE_R, "mean plain r of the two"),
        at_least(names.LITERAL_GAIN, gain.relative, GAIN, f"plain r: {gain.arithmetic}"),
    ]


def phase4_gate(results: Phase4Results, rests_on: dict[str, str], overrides: tuple[Override, ...] = ()) -> Gate:
    """The gate of these results. For a tiered store only the plan's literal verdict is given."""
    return make_gate(
        4,
        phase4_criteria(results),
        literal_criteria(results),
        rests_on,
        overrides=overrides,
        literal_only=results.store.tiered,
    )
