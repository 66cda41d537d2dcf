"""Phase 2's criteria: both modalities used, pristine over degraded, quality and not difficulty, the literal ones."""

from __future__ import annotations

import numpy as np

from keybed.experiments.evaluation import criterion_names as names
from keybed.experiments.evaluation.criteria import Criterion, at_least, below
from keybed.experiments.evaluation.decimals import number, signed_percent
from keybed.experiments.evaluation.fusion_gain import gain_criteria
from keybed.experiments.evaluation.gates import Gate, make_gate
from keybed.experiments.evaluation.intervals import Interval
from keybed.experiments.evaluation.model_names import BEST_FUSION, SINGLES
from keybed.experiments.evaluation.phase2_results import Phase2Results
from keybed.store.format.vocabulary import COVARIATES

GAIN_THRESHOLD = 0.10
USED_THRESHOLD = 0.02
ORDERING_THRESHOLDS = {"pristine>poor": 0.90, "pristine>moderate": 0.75}
"""Each holds for all pairs and for those in which tone is equal."""
GOOD_OVER_MODERATE = ("good>moderate", 0.65)
"""Both variants are touched, so that "touched or not" does not order them. Not asked of runs that have "tone alike"."""
SLOPE_THRESHOLD = 0.10


def phase2_criteria(results: Phase2Results) -> list[Criterion]:
    """Every criterion of the gate, in the order of the report."""
    evaluation = results.evaluation
    return [
        *gain_criteria(evaluation.gain, GAIN_THRESHOLD),
        *used_criteria(evaluation.swap),
        *ordering_criteria(evaluation.ordering[BEST_FUSION]),
        difficulty_criterion(evaluation.difficulty.slopes),
    ]


def used_criteria(swap: dict[str, Interval]) -> list[Criterion]:
    """A modality is used where specific r falls when it comes from another variant of the segment."""
    words = {"audio": "the audio", "midi": "the MIDI"}
    return [
        at_least(
            names.USED[m],
            swap[m],
            USED_THRESHOLD,
            f"with {words[m]} of another variant of the same segment, mean specific r falls by {number(swap[m].value)}",
            above_zero=True,
        )
        for m in SINGLES
    ]


def ordering_criteria(accuracy: dict[str, Interval]) -> list[Criterion]:
    """Pristine over poor and over moderate, for all pairs and where tone is equal, and good over moderate.

    Runs before degradation version 2 have "tone alike" in place of "tone equal" and no criterion for good over moderate.
    """
    old = any(key.endswith("tone alike") for key in accuracy)
    asked = [
        (key, threshold)
        for pair, threshold in ORDERING_THRESHOLDS.items()
        for key in (pair, f"{pair}, tone {'alike' if old else 'equal'}")
    ]
    return [
        _ordered(key, accuracy[key], threshold) for key, threshold in [*asked, *([] if old else [GOOD_OVER_MODERATE])]
    ]


def _ordered(key: str, value: Interval, threshold: float) -> Criterion:
    text = (
        f"{100 * value.value:.1f} % of the pairs of one segment ordered correctly"
        if np.isfinite(value.value)
        else "no pairs"
    )
    return at_least(names.ordering(key), value, threshold, text)


def difficulty_criterion(slopes: dict[str, Interval]) -> Criterion:
    """The steepest of the six slopes on difficulty, per sd, as a share of the pristine–poor gap."""
    defined = {name: s for name, s in slopes.items() if np.isfinite(s.value)}
    if len(defined) < len(COVARIATES):
        nothing = Interval(float("nan"), float("nan"), float("nan"))
        return below(
            names.DIFFICULTY,
            nothing,
            SLOPE_THRESHOLD,
            "pristine is not above poor, so there is no gap to compare with",
        )
    worst = max(defined, key=lambda name: abs(defined[name].value))
    s = defined[worst]
    size = Interval(abs(s.value), *(sorted((s.low, s.high)) if s.value >= 0 else sorted((-s.low, -s.high))))
    listed = ", ".join(f"{name.split('_')[0]} {signed_percent(v.value)}" for name, v in defined.items())
    return below(
        names.DIFFICULTY,
        size,
        SLOPE_THRESHOLD,
        f"steepest: {worst.replace('_', ' ')}; slopes per sd ÷ pristine–poor gap: {listed}",
    )


def literal_criteria(results: Phase2Results) -> list[Criterion]:
    """The plan taken literally: plain r, mean over eight dimensions; pristine above degraded; attention entropy."""
    literal, accuracy = results.evaluation.gain.literal, results.evaluation.ordering[BEST_FUSION]
    order = np.nanmean([accuracy[f"pristine>{t}"].value for t in ("good", "moderate", "poor")])
    criteria = [
        at_least(names.LITERAL_GAIN, literal.relative, GAIN_THRESHOLD, f"plain r: {literal.arithmetic}"),
        at_least(
            names.LITERAL_ORDER,
            Interval(float(order), float("nan"), float("nan")),
            0.5,
            f"pristine first in {100 * order:.1f} % of pairs with good, moderate and poor",
        ),
    ]
    attention = results.inspection.attention
    if attention is not None:
        entropy = [d.trained.entropy for d in (attention.audio_to_midi, attention.midi_to_audio)]
        known = [e for e in entropy if e is not None]
        value = float(np.mean(known)) if known else float("nan")
        criteria.append(
            at_least(
                names.LITERAL_ATTENTION,
                Interval(value, float("nan"), float("nan")),
                0.5,
                "mean of both directions; untrained attention is as even, so this shows nothing",
                required=False,
            )
        )
    return criteria


def phase2_gate(results: Phase2Results, rests_on: dict[str, str]) -> Gate:
    """The gate of these results. For a tiered store only the plan's literal verdict is given."""
    return make_gate(
        2, phase2_criteria(results), literal_criteria(results), rests_on, literal_only=results.store.tiered
    )
