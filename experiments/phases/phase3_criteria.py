"""Phase 3's criteria: alignment, recall among variants, no collapse, quality retained, fusion gain."""

from __future__ import annotations

from keybed.experiments.evaluation import criterion_names as names
from keybed.experiments.evaluation.criteria import Criterion, above_zero, at_least, at_most, more_than
from keybed.experiments.evaluation.decimals import number
from keybed.experiments.evaluation.gates import Gate, Override, make_gate
from keybed.experiments.evaluation.intervals import Interval
from keybed.experiments.evaluation.phase3_results import Phase3Results

ALIGNMENT_THRESHOLD, RETENTION_THRESHOLD, GAIN_THRESHOLD = 0.6, 0.95, 0.15
LEAST_RANK, MOST_UNIFORMITY = 5.0, -0.5
"""Our own: a space below this effective rank or above this uniformity (0 is one point) counts as collapsed."""


def phase3_criteria(results: Phase3Results) -> list[Criterion]:
    """Every criterion of the gate, in the order of the report."""
    alignment, recall = results.alignment, results.variant_recall
    rank = min(c.effective_rank for c in results.collapse.after.values())
    uniformity = max(c.uniformity for c in results.collapse.after.values())
    retention, gain, chance = results.retention, results.gain.aligned, recall.chance
    over_chance = Interval(recall.after.value - chance, recall.after.low - chance, recall.after.high - chance)
    return [
        more_than(
            names.ALIGNMENT,
            alignment.after,
            ALIGNMENT_THRESHOLD,
            f"paired − unpaired cosine; untrained {number(alignment.before.value, 2)}, "
            f"closed-form CCA {number(alignment.cca.value, 2)}",
        ),
        above_zero(
            names.VARIANT_RECALL,
            over_chance,
            f"R@1 {number(recall.after.value)} − chance {number(chance)} = {number(over_chance.value)}",
        ),
        at_least(
            names.NO_COLLAPSE_RANK, _bare(rank), LEAST_RANK, f"lower of both modalities: effective rank {rank:.1f}"
        ),
        at_most(
            names.NO_COLLAPSE_UNIFORMITY,
            _bare(uniformity),
            MOST_UNIFORMITY,
            f"higher of both modalities: uniformity {number(uniformity, 2)}",
        ),
        at_least(
            names.RETENTION,
            retention.ratio,
            RETENTION_THRESHOLD,
            f"ridge probe: mean specific r {number(retention.aligned.value)} on the projections, "
            f"{number(retention.raw.value)} on the raw features",
        ),
        at_least(names.GAIN_ANYWHERE, gain.relative, GAIN_THRESHOLD, gain.arithmetic, above_zero=True),
    ]


def literal_criteria(results: Phase3Results) -> list[Criterion]:
    """The plan's only other number."""
    words = "the plan's only number beside the gain"
    return [more_than(names.LITERAL_ALIGNMENT, results.alignment.after, ALIGNMENT_THRESHOLD, words)]


def phase3_gate(results: Phase3Results, rests_on: dict[str, str], overrides: tuple[Override, ...] = ()) -> Gate:
    """The gate of these results."""
    return make_gate(3, phase3_criteria(results), literal_criteria(results), rests_on, overrides=overrides)


def _bare(value: float) -> Interval:
    return Interval(float(value), float("nan"), float("nan"))
