"""Phase 2's results.json as dataclasses; every key and value on disk is a field here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from keybed.experiments.data.json_codec import FLAT, Key
from keybed.experiments.data.run_facts import Machine, Pair, StoreFacts
from keybed.experiments.evaluation.each_piano import OnPiano
from keybed.experiments.evaluation.fusion_gain import Gains
from keybed.experiments.evaluation.inspection import Inspection
from keybed.experiments.evaluation.intervals import Interval
from keybed.experiments.evaluation.model_selection import Choice
from keybed.experiments.evaluation.ordering import Difficulty
from keybed.experiments.evaluation.residuals import ErrorPair
from keybed.experiments.evaluation.ridge_probe import RidgeByState
from keybed.experiments.evaluation.tables import Audit, LabelCorrelation, Table
from keybed.experiments.evaluation.unseen_piano import UnseenPiano


@dataclass(frozen=True)
class EvaluatedRows:
    """The rows that every number is about. how: in words, "test split" or "out of fold, 5 folds by piece"."""

    rows: int
    pieces: int
    segments: int
    how: str
    folds: int


@dataclass(frozen=True)
class Chosen:
    """Heads chosen on validation rows: most often over the folds, and in each fold."""

    single: str
    fusion: str
    each_fold: tuple[Choice, ...]


@dataclass(frozen=True)
class MeanR:
    """Mean r over dimensions by model, for each kind of r."""

    specific: dict[str, Interval]
    plain: dict[str, Interval]
    within_tier: dict[str, Interval]


@dataclass(frozen=True)
class TableWithMean:
    """model -> dimension -> r, and model -> mean r."""

    table: Table
    mean: dict[str, Interval]


@dataclass(frozen=True)
class OnTestSplit:
    """r on the store's test split alone; without bounds where it has a single piece."""

    rows: int
    pieces: int
    plain: TableWithMean
    specific: TableWithMean


@dataclass(frozen=True)
class Evaluation:
    """All numbers about the predictions of test rows.

    specific, plain and their means hold every head, the specialists, and the best fusion and best single modality as chosen in
    each fold. tier_floor: plain r of a predictor that knows only the tier. points: metric -> model -> dimension, without intervals.
    swap: loss of mean specific r by swapped modality. pairwise: share of pairs of variants in the right order. errors: residuals of
    the two single modalities by dimension. Both None in runs of before they were measured.
    """

    rows: Annotated[EvaluatedRows, Key("judged")]
    chosen: Chosen
    specific: Table
    plain: Table
    within_tier: Table
    mean: MeanR
    tier_floor: dict[str, Interval]
    points: dict[str, dict[str, dict[str, float | None]]]
    gain: Gains
    reading: str
    swap: dict[str, Interval]
    swap_by_dimension: Table
    ordering: Table
    difficulty: Difficulty
    audit: Audit
    label_correlation: LabelCorrelation
    pairwise: TableWithMean | None = None
    errors: dict[str, ErrorPair] | None = None


@dataclass(frozen=True)
class Phase2Results:
    """RUN/results.json of Phase 2.

    budget and history are heads' own JSON: FitConfig, and one entry per epoch of the first fold's heads.
    """

    phase: Literal[2]
    store: StoreFacts
    pair: Pair
    budget: dict[str, Any]
    evaluation: Annotated[Evaluation, FLAT]
    test_split: OnTestSplit | None
    ridge: RidgeByState
    inspection: Annotated[Inspection, Key("inside")]
    history: tuple[dict[str, Any], ...]
    machine: Machine
    seconds: float
    unseen_piano: UnseenPiano | None = None
    """None where the store holds no soundfont out."""
    each_piano: tuple[OnPiano, ...] = ()
    """Empty where the store has one soundfont, or recorded audio."""
