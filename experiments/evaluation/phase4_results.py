"""Phase 4's results.json as dataclasses; every key and value on disk is a field here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from keybed.experiments.data.json_codec import Key
from keybed.experiments.data.run_facts import Machine, Pair, RowCounts, RunBefore, StoreFacts
from keybed.experiments.evaluation.fusion_gain import Gain
from keybed.experiments.evaluation.intervals import Interval
from keybed.experiments.evaluation.phase2_results import TableWithMean
from keybed.experiments.evaluation.residuals import ErrorPair
from keybed.experiments.evaluation.tables import Table
from keybed.experiments.evaluation.unseen_piano import UnseenPiano


@dataclass(frozen=True)
class Phase4Means:
    """Mean r over dimensions by model."""

    specific: dict[str, Interval]
    plain: dict[str, Interval]


@dataclass(frozen=True)
class Phase4Gains:
    """Gain of the final fusion over the best single modality: in specific r, and in plain r (the plan's literal reading)."""

    specific: Gain
    literal: Gain


@dataclass(frozen=True)
class OverallR:
    """Plain r of the predicted overall score, and of the mean of the seven other predictions."""

    predicted: float
    mean_of_seven: float


@dataclass(frozen=True)
class Coverage:
    """One dimension: half-width of the conformal interval in points of 100, and the share of test rows inside it."""

    half_width: float | None
    coverage: float | None


@dataclass(frozen=True)
class Uncertainty:
    """Split-conformal intervals by dimension. asked: the nominal coverage."""

    asked: float
    dimensions: dict[str, Coverage]


@dataclass(frozen=True)
class Phase4Results:
    """RUN/results.json of Phase 4. technical: mean specific r of the four technical dimensions.

    pairwise, errors: as in Phase 2's Evaluation; the errors are of heads on raw features.
    """

    phase: Literal[4]
    store: StoreFacts
    pair: Pair
    budget: dict[str, Any]
    after: RunBefore
    rows: Annotated[RowCounts, Key("judged")]
    fusion: str
    specific: Table
    plain: Table
    mean: Phase4Means
    technical: Interval
    gain: Phase4Gains
    overall: OverallR
    ablations: dict[str, Interval]
    uncertainty: Uncertainty
    history: tuple[dict[str, Any], ...]
    machine: Machine
    seconds: float
    pairwise: TableWithMean | None = None
    errors: dict[str, ErrorPair] | None = None
    unseen_piano: UnseenPiano | None = None
    """None where the store holds no soundfont out."""
