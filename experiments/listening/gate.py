"""Phase 5's gate, and advice for each dimension: use the synthetic labels, annotate in full, or rate more clips."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from keybed.experiments.evaluation.criteria import Criterion, above_zero, at_least, more_than
from keybed.experiments.evaluation.decimals import number
from keybed.experiments.evaluation.gates import Gate, Override, make_gate
from keybed.experiments.evaluation.intervals import Interval, finite
from keybed.experiments.listening.against_experts import ExpertCorrelation
from keybed.experiments.listening.power import n_to_decide
from keybed.store.counted import counted
from keybed.store.format.vocabulary import AXIS_DIMENSIONS, DIMENSIONS

SMALLEST_R = 0.5
SMALLEST_SPECIFIC_R = 0.3
ENOUGH_DIMENSIONS = 3
FEWEST_CLIPS = 30
"""With fewer rated clips a correlation of 0.5 is not told from 0 in four of five studies (`power`), so nothing is decided."""
Transfer = Literal["transfers", "needs full annotation", "undecided"]


@dataclass(frozen=True)
class Advice:
    """word: the advice. n_to_decide: clips at which the interval of this r would leave out 0.5; infinite where r is 0.5."""

    word: Transfer
    reason: str
    n_to_decide: float


def advise(correlation: ExpertCorrelation) -> Advice:
    """Transfers where the whole interval of r lies above 0.5; full annotation where it lies below; else undecided.

    With fewer than FEWEST_CLIPS rated clips it is undecided as well.
    """
    r = correlation.r
    if finite(r.value) is None or finite(r.low) is None:
        return Advice("undecided", "no interval: too few clips, or ratings or labels do not vary", float("inf"))
    n = n_to_decide(r.value, SMALLEST_R)
    if correlation.n < FEWEST_CLIPS:
        return Advice(
            "undecided", f"{counted(correlation.n, 'rated clip')}, {FEWEST_CLIPS} are needed", max(n, FEWEST_CLIPS)
        )
    if r.low > SMALLEST_R:
        return Advice("transfers", f"r is at least {number(r.low, 2)}", n)
    if r.high < SMALLEST_R:
        noisy = correlation.ceiling < SMALLEST_R + 0.1
        why = (
            f"; rater noise allows at most {number(correlation.ceiling, 2)}, so get more raters first" if noisy else ""
        )
        return Advice("needs full annotation", f"r is at most {number(r.high, 2)}{why}", n)
    return Advice("undecided", f"{SMALLEST_R:g} lies inside {number(r.low, 2)} to {number(r.high, 2)}", n)


def phase5_gate(
    correlations: Mapping[str, ExpertCorrelation], rests_on: dict[str, str], overrides: tuple[Override, ...] = ()
) -> Gate:
    """GO where at least 3 axis dimensions have r > 0.5 with the experts and specific r > 0.3, both on the same dimension.

    UNDEFINED, "not yet", where ratings are too few to tell on how many dimensions that holds.
    """
    criteria = [
        _enough(
            "axis dimensions on which labels agree with experts",
            {name: _agrees(correlations[name]) for name in AXIS_DIMENSIONS},
            f"r > {SMALLEST_R:g} and specific r > {SMALLEST_SPECIFIC_R:g} on ",
        )
    ]
    for name in AXIS_DIMENSIONS:
        correlation = correlations[name]
        assert correlation.specific is not None
        words = f"{name.replace('_', ' ')}"
        criteria.append(
            more_than(f"{words}: r", correlation.r, SMALLEST_R, "labels with the raters' mean", required=False)
        )
        criteria.append(
            more_than(
                f"{words}: specific r",
                correlation.specific,
                SMALLEST_SPECIFIC_R,
                "partial correlation given the other six labels, clips that are not pristine",
                required=False,
            )
        )
    plain = {name: _above(correlations[name].r, SMALLEST_R, correlations[name].n) for name in DIMENSIONS}
    literal = [_enough("dimensions with r > 0.5", plain, "")]
    best = max((correlations[d].r for d in AXIS_DIMENSIONS), key=lambda r: finite(r.value) or -2)
    literal.append(above_zero("the best dimension is above chance", best, "its 95 % interval", required=False))
    return make_gate(5, criteria, literal, rests_on, overrides=overrides)


def _enough(name: str, passes: Mapping[str, bool | None], words: str) -> Criterion:
    """At least ENOUGH_DIMENSIONS pass; undefined while the dimensions that are not known yet (None) could still decide."""
    passing = [dimension for dimension, known in passes.items() if known]
    n_unknown = sum(known is None for known in passes.values())
    arithmetic = f"{words}{len(passing)} of {len(passes)}{': ' + ', '.join(passing) if passing else ''}"
    if n_unknown:
        arithmetic += (
            f"; not known yet on {n_unknown}, with fewer than {FEWEST_CLIPS} rated clips or ratings that do not vary"
        )
    undecided = len(passing) < ENOUGH_DIMENSIONS <= len(passing) + n_unknown
    count = float("nan") if undecided else float(len(passing))
    return at_least(name, Interval(count, float("nan"), float("nan")), ENOUGH_DIMENSIONS, arithmetic)


def _agrees(correlation: ExpertCorrelation) -> bool | None:
    """Whether labels agree with experts on this dimension; None where that is not known yet."""
    assert correlation.specific is not None
    both = (
        _above(correlation.r, SMALLEST_R, correlation.n),
        _above(correlation.specific, SMALLEST_SPECIFIC_R, correlation.n),
    )
    return None if None in both else all(both)


def _above(r: Interval, threshold: float, n_clips: int) -> bool | None:
    value = finite(r.value)
    return None if value is None or n_clips < FEWEST_CLIPS else value > threshold
