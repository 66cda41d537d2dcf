"""A comparison's results.json as dataclasses: runs on one store side by side, and what they differ in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from keybed.experiments.data.json_codec import Key
from keybed.experiments.evaluation.intervals import Interval
from keybed.experiments.evaluation.model_names import BEST_FUSION, FINAL_FUSION

COMPARISON: Literal["comparison"] = "comparison"


@dataclass(frozen=True)
class ComparedRun:
    """One model of one run. mean: of specific r, of runs on ratings of Pearson r. pairwise: share of pairs of variants in the right
    order, mean of seven dimensions; None of runs on ratings, whose rows have no variants. by_dimension: difference of r to
    the first run in each dimension.

    Differences are to the first run that has the model: for that run itself None, and by_dimension is empty.
    """

    run: str
    mean: Interval
    difference: Interval | None
    pairwise: Interval | None
    pairwise_difference: Interval | None
    by_dimension: dict[str, Interval]


@dataclass(frozen=True)
class Comparison:
    """Runs side by side on `rows` common rows; models: model -> one entry per run that has it.

    left_out: rows, seeds and models that some run has and the comparison does not use, one sentence each. measure: whose mean.
    same and different: facts and options of the runs as text, by name; same has one text, different one per run, "–" where a
    run has no such option or was not given it. random_encoders: those of any run that ran with random weights. composed: all music
    was composed by the demo.
    """

    rows: int
    runs: tuple[str, ...]
    seeds: int
    models: Annotated[dict[str, tuple[ComparedRun, ...]], Key("judges")]
    pieces: int
    left_out: tuple[str, ...]
    same: dict[str, str]
    different: dict[str, tuple[str, ...]]
    measure: Literal["specific r", "Pearson r"] = "specific r"
    random_encoders: tuple[str, ...] = ()
    composed: bool = False
    phase: Literal["comparison"] = COMPARISON

    @property
    def headline(self) -> str:
        """The model that stands for the runs: Phase 4's final fusion, else the best fusion, else the first that is common."""
        return next((name for name in (FINAL_FUSION, BEST_FUSION) if name in self.models), next(iter(self.models)))
