"""Did fusion gain anything? The relative gain in mean specific r, three ways, and the plan's literal arithmetic.

(a) over the best single modality, (b) over the single-modality specialists (each dimension from the modality that did
better on validation), (c) over the best single modality with tone_quality left out, which only audio can carry. Who is
"best" was chosen on validation rows before any of the rows judged here were looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.evaluation.gates import Criterion, above_zero, at_least
from keybed.experiments.evaluation.intervals import Interval, finite, intervals
from keybed.experiments.evaluation.model_names import BEST_FUSION, BEST_SINGLE, BEST_SINGLE_WITHOUT_TONE, SPECIALISTS
from keybed.experiments.evaluation.predictions import Correlations, Predictions, over_dimensions, over_seeds
from keybed.store.format.vocabulary import AXIS_DIMENSIONS

SMALLEST_BASE = 0.15
"""Below this r of what fusion is compared with, a relative gain is a quotient of noises: undefined."""
TONE = AXIS_DIMENSIONS.index("tone_quality")


@dataclass(frozen=True)
class Gain:
    """Mean r of the fusion and of what it is compared with, and (fusion − base) / base."""

    fusion: Interval
    base: Interval
    relative: Interval

    @property
    def defined(self) -> bool:
        """False where the base is too small to divide by."""
        return self.base.value >= SMALLEST_BASE

    def to_json(self) -> dict[str, Any]:
        """Plain JSON with the arithmetic in words."""
        each = {name: getattr(self, name).to_json() for name in ("fusion", "base", "relative")}
        return each | {"defined": self.defined, "arithmetic": self.arithmetic}

    @property
    def arithmetic(self) -> str:
        """The sum in words, for report and terminal."""
        sum_ = f"({self.fusion.value:.3f} − {self.base.value:.3f}) / {self.base.value:.3f}"
        if not self.defined:
            return f"{sum_}: undefined, the base is below {SMALLEST_BASE:g}"
        return f"{sum_} = {100 * self.relative.value:+.1f} %".replace("-", "−")


def gain(
    predictions: Predictions,
    fusion: str,
    base: str,
    *,
    kind: str = "specific",
    without: int | None = None,
    seed: int = 0,
) -> Gain:
    """Relative gain in mean r of `fusion` over `base`, both names of `judged`, with paired intervals.

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

    found = intervals(statistic, correlations.n_pieces, correlations.n_seeds, seed=seed)
    result = Gain(*found)
    if not result.defined:
        return Gain(result.fusion, result.base, Interval(float("nan"), float("nan"), float("nan")))
    return result


def gains(predictions: Predictions) -> dict[str, Gain]:
    """(a), (b), (c) and "literal"; `judged` holds the four composed judges named above."""
    return {
        "a": gain(predictions, BEST_FUSION, BEST_SINGLE),
        "b": gain(predictions, BEST_FUSION, SPECIALISTS),
        "c": gain(predictions, BEST_FUSION, BEST_SINGLE_WITHOUT_TONE, without=TONE),
        "literal": gain(predictions, BEST_FUSION, BEST_SINGLE, kind="plain"),
    }


def gain_criteria(found: dict[str, Gain], threshold: float) -> list[Criterion]:
    """(a) and (b) count; (c) is shown."""
    a, b, c = found["a"], found["b"], found["c"]
    return [
        at_least("fusion gain (a) over the best single modality", a.relative, threshold, a.arithmetic, above_zero=True),
        above_zero("fusion gain (b) over the specialists", b.relative, b.arithmetic),
        above_zero("fusion gain (c) without tone_quality", c.relative, c.arithmetic, required=False),
    ]


def reading(found: dict[str, Gain]) -> str:
    """One phrase for what the gains mean together."""
    a, b = found["a"], found["b"]
    if not a.defined:
        return f"undefined: the best single modality reaches {a.base.value:.3f}, below {SMALLEST_BASE:g}"
    if finite(a.relative.low) is None:
        return "undefined: too few pieces for an interval"
    if a.relative.above_zero and not b.relative.above_zero:
        return (
            "complementary, not fused: each modality knows other dimensions, and picking one per dimension does as well"
        )
    if a.relative.above_zero:
        return "fused: better than either modality and than the better one per dimension"
    return "no gain that stands out from the noise"
