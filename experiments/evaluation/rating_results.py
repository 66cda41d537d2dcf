"""results.json of a run on ratings by people, and the criteria of its gate."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from keybed.experiments.data.run_facts import Machine, Pair, StoreFacts
from keybed.experiments.evaluation import criterion_names as names
from keybed.experiments.evaluation.criteria import Criterion, above_zero, at_least
from keybed.experiments.evaluation.each_piano import OnPiano
from keybed.experiments.evaluation.fusion_gain import Gain
from keybed.experiments.evaluation.gates import Gate, make_gate
from keybed.experiments.evaluation.intervals import Interval
from keybed.experiments.evaluation.phase2_results import EvaluatedRows
from keybed.experiments.evaluation.tables import Table
from keybed.experiments.evaluation.unseen_piano import UnseenPiano

KIND: Literal["2 on ratings"] = "2 on ratings"


@dataclass(frozen=True)
class RatingFold:
    """What validation chose in one fold: the best single modality, the best fusion, a specialist per dimension."""

    single: str
    fusion: str
    specialists: dict[str, str]


@dataclass(frozen=True)
class RatingSummary:
    """One dimension's ratings: passages that have it, mean and sd over them (0 to 100), mean sd over raters, None if unknown."""

    rows: int
    mean: float | None
    sd: float | None
    sd_over_raters: float | None


@dataclass(frozen=True)
class RatingRunResults:
    """RUN/results.json of Phase 2 on a store of ratings. All r are Pearson's, between predictions and mean ratings.

    r: model -> dimension, for heads, composed models and shortcut baselines; mean_r: over dimensions. points: Spearman, R²,
    MAE and CCC without intervals. budget and history are heads' own JSON, as in Phase2Results.
    """

    phase: Literal["2 on ratings"]
    store: StoreFacts
    pair: Pair
    budget: dict[str, Any]
    rows: EvaluatedRows
    dimensions: dict[str, RatingSummary]
    folds: tuple[RatingFold, ...]
    r: Table
    mean_r: dict[str, Interval]
    points: dict[str, dict[str, dict[str, float | None]]]
    over_single: Gain
    over_specialists: Gain
    history: tuple[dict[str, Any], ...]
    machine: Machine
    seconds: float
    unseen_piano: UnseenPiano | None = None
    """None where the store holds no soundfont out."""
    each_piano: tuple[OnPiano, ...] = ()
    """Empty where the store has one soundfont, or recorded audio."""


def rating_gate(
    results: RatingRunResults, threshold: float, not_asked: tuple[str, ...], rests_on: dict[str, str]
) -> Gate:
    """The two gains in r, which are required; every criterion that needs degraded variants says "not applicable"."""
    a, b = results.over_single, results.over_specialists
    asked = [
        at_least(names.GAIN_A, a.relative, threshold, f"Pearson r: {a.arithmetic}", above_zero=True),
        above_zero(names.GAIN_B, b.relative, f"Pearson r: {b.arithmetic}"),
    ]
    left_out = [
        Criterion(
            name, None, None, None, "≥ 0", "undefined", "not applicable: ratings have no degraded variants", False
        )
        for name in not_asked
    ]
    literal = [at_least(names.LITERAL_GAIN, a.relative, threshold, f"Pearson r: {a.arithmetic}")]
    return replace(make_gate(2, [*asked, *left_out], literal, rests_on), advice=None)
