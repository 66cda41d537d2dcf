"""Relative gain of fusion in mean specific r, three ways, and the plan's literal arithmetic.

(a) over the best single modality; (b) over the specialists (for each dimension the single-modality head with the better
validation r); (c) over the best single modality with tone_quality left out, because only audio carries it. The "best" heads
are chosen on validation rows, never on test rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.evaluation import criterion_names as names
from keybed.experiments.evaluation.criteria import Criterion, above_zero, at_least
from keybed.experiments.evaluation.decimals import number, signed_percent
from keybed.experiments.evaluation.intervals import Interval, finite, intervals
from keybed.experiments.evaluation.model_names import BEST_FUSION, BEST_SINGLE, BEST_SINGLE_WITHOUT_TONE, SPECIALISTS
from keybed.experiments.evaluation.predictions import Correlations, Predictions, over_dimensions, over_seeds
from keybed.store.format.vocabulary import AXIS_DIMENSIONS

SMALLEST_BASE = 0.15
"""Below this r of the base, the relative gain is a quotient of noise and undefined."""
TONE = AXIS_DIMENSIONS.index("tone_quality")


@dataclass(frozen=True)
class Gain:
    """Mean r of the fusion and of the base that it is compared with, and relative = (fusion − base) / base."""

    JSON_PROPERTIES: ClassVar = ("defined", "arithmetic")

    fusion: Interval
    base: Interval
    relative: Interval

    @property
    def defined(self) -> bool:
        """False where the base is too small to divide by."""
        return self.base.value >= SMALLEST_BASE

    @property
    def arithmetic(self) -> str:
        """The arithmetic in words, for report and terminal."""
        sum_ = f"({number(self.fusion.value)} − {number(self.base.value)}) / {number(self.base.value)}"
        if not self.defined:
            return f"{sum_}: undefined, the base is below {SMALLEST_BASE:g}"
        return f"{sum_} = {signed_percent(self.relative.value)}"


def gain(
    predictions: Predictions,
    fusion: str,
    base: str,
    *,
    kind: str = "specific",
    without: int | None = None,
    seed: int = 0,
) -> Gain:
    """Relative gain in mean r of `fusion` over `base`, both names of models in `predictions`, with paired intervals.

    kind "specific" (seven dimensions) or "plain" (eight, the plan's literal reading); without: a dimension left out.
    """
    correlations = Correlations(predictions.only((fusion, base)), "specific" if kind == "specific" else "plain")
    keep = [k for k in range(len(correlations.dimensions)) if k != without]

    def statistic(pieces: NDArray[np.float64], seeds: NDArray[np.float64]) -> NDArray[np.float64]:
        mean = over_dimensions(over_seeds(correlations(pieces), seeds)[:, keep])
        above, under = mean[:, 0], mean[:, 1]
        with np.errstate(divide="ignore", invalid="ignore"):
            relative = np.where(under > 0, (above - under) / under, np.nan)
        return np.stack([above, under, relative], axis=1)

    result = Gain(*intervals(statistic, correlations.n_pieces, correlations.n_seeds, seed=seed))
    if not result.defined:
        return Gain(result.fusion, result.base, Interval(float("nan"), float("nan"), float("nan")))
    return result


@dataclass(frozen=True)
class Gains:
    """The three gains of the gate, and the literal one in plain r."""

    a: Gain
    b: Gain
    c: Gain
    literal: Gain


def gains(predictions: Predictions) -> Gains:
    """All four gains; `predictions` holds the composed models of `model_names`."""
    return Gains(
        a=gain(predictions, BEST_FUSION, BEST_SINGLE),
        b=gain(predictions, BEST_FUSION, SPECIALISTS),
        c=gain(predictions, BEST_FUSION, BEST_SINGLE_WITHOUT_TONE, without=TONE),
        literal=gain(predictions, BEST_FUSION, BEST_SINGLE, kind="plain"),
    )


def gain_criteria(gains: Gains, threshold: float) -> list[Criterion]:
    """(a) and (b) are required; (c) is shown."""
    a, b, c = gains.a, gains.b, gains.c
    return [
        at_least(names.GAIN_A, a.relative, threshold, a.arithmetic, above_zero=True),
        above_zero(names.GAIN_B, b.relative, b.arithmetic),
        above_zero(names.GAIN_C, c.relative, c.arithmetic, required=False),
    ]


def reading(gains: Gains) -> str:
    """One phrase for what the gains mean together; it is stored in results.json."""
    a, b = gains.a, gains.b
    if not a.defined:
        return f"undefined: the best single modality reaches {number(a.base.value)}, below {SMALLEST_BASE:g}"
    if finite(a.relative.low) is None:
        return "undefined: too few pieces for an interval"
    if a.relative.above_zero and not b.relative.above_zero:
        return (
            "complementary, not fused: each modality knows other dimensions, and picking one per dimension does as well"
        )
    if a.relative.above_zero:
        return "fused: better than either modality and than the better one per dimension"
    return "no gain that stands out from the noise"
