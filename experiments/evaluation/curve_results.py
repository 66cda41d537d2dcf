"""RUN/results.json of `keybed curve` as dataclasses; every key and value on disk is a field here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from keybed.experiments.data.run_facts import Machine, Pair, RowCounts, StoreFacts
from keybed.experiments.evaluation.intervals import Interval
from keybed.experiments.evaluation.learning_curve import Extrapolation, Needed

BEST_HEAD = "best head"
"""The head with the best validation r, chosen for each size, fold and draw."""
RIDGE = "ridge"
GROUPS = ("mean of the seven", "technical", "interpretive")
"""What r is averaged over; technical and interpretive as Phase 4's gate asks."""


@dataclass(frozen=True)
class CellResults:
    """One training set, means over folds and draws; pieces_16, segments_16: sixteenths that were taken.

    r: group → model → specific r. by_dimension: of the best head.
    """

    pieces_16: int
    segments_16: int
    pieces: float
    segments: float
    rows: float
    r: dict[str, dict[str, Interval]]
    by_dimension: dict[str, Interval]


@dataclass(frozen=True)
class Binding:
    """Whether more rows or more pieces help: differences of one model's mean specific r, paired.

    more_pieces: at a quarter of the rows, all pieces against a quarter of them; fewest: the same at a sixteenth. more_rows: at
    all pieces, all segments against a quarter. both: all rows against a quarter of the pieces.
    """

    more_pieces: Interval
    fewest: Interval
    more_rows: Interval
    both: Interval
    word: Literal["pieces", "rows", "neither"]
    words: str


@dataclass(frozen=True)
class RatedPassages:
    """Mean within-passage r over the questions, for models trained on this many rated passages of other compositions.

    performances: human performances rated, mean over folds. over_zero_shot: difference to the zero-shot heads.
    """

    passages: int
    performances: float
    trained: dict[str, Interval]
    over_zero_shot: dict[str, Interval]


@dataclass(frozen=True)
class RatingCurve:
    """PercePiano. questions: dimension and scales, in words. zero_shot: mean within-passage r of the head.

    beats_from: model → fewest rated passages from which every larger number beats zero-shot with its whole interval; None where
    none does. ahead_from: the same for the value without its interval.
    """

    run: str
    head: str
    questions: tuple[str, ...]
    compositions: int
    zero_shot: Interval
    sizes: tuple[RatedPassages, ...]
    main_model: str
    ahead_from: dict[str, int | None]
    beats_from: dict[str, int | None]


@dataclass(frozen=True)
class CurveResults:
    """RUN/results.json of a curve. epochs: on all training rows. curves: group → model → extrapolation.

    needed: Phase 4's thresholds, group → model. binding: by model. answer: the sentence that the report leads with.
    """

    phase: Literal["curve"]
    store: StoreFacts
    pair: Pair
    rows: RowCounts
    draws: int
    epochs: int
    cells: tuple[CellResults, ...]
    curves: dict[str, dict[str, Extrapolation]]
    needed: dict[str, dict[str, Needed]]
    binding: dict[str, Binding]
    ratings: RatingCurve | None
    word: str
    answer: str
    machine: Machine
    seconds: float
    cpu_seconds: float
