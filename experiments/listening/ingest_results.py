"""Phase 5's results.json as dataclasses; every key and value on disk is a field here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from keybed.experiments.data.json_codec import Key
from keybed.experiments.evaluation.intervals import Interval
from keybed.experiments.listening.against_experts import ExpertCorrelation
from keybed.experiments.listening.answer_key import Provenance
from keybed.experiments.listening.gate import Advice
from keybed.experiments.listening.rater_agreement import SelfAgreement


@dataclass(frozen=True)
class RatedShare:
    """Presentations that a rater has rated, of how many."""

    rated: int
    of: int


@dataclass(frozen=True)
class RaterHabits:
    """One rater on one dimension: agreement with themselves, and the rater model's parameters (None without a fit)."""

    with_self: Annotated[SelfAgreement, Key("self")]
    bias: float | None
    drift: float | None
    drift_sd: float | None
    gain: float | None
    noise: float | None


@dataclass(frozen=True)
class ModelCorrelation:
    """The model's predictions with the raters' mean. true_r: corrected for rater noise."""

    r: Interval
    true_r: Interval


@dataclass(frozen=True)
class DimensionResults:
    """One dimension. whole_clips: clips that every rater rated. alpha: Krippendorff's. cannot_tell: share without a rating.

    model: None without predictions. rater_model_reliability: None where the rater model has no unique fit.
    """

    icc_2_1: Interval
    icc_2_k: Interval
    icc_3_k: float
    whole_clips: int
    alpha: float
    cannot_tell: float
    labels: ExpertCorrelation
    model: ModelCorrelation | None
    advice: Advice
    rater_model_reliability: float | None
    raters: dict[str, RaterHabits]


@dataclass(frozen=True)
class IngestResults:
    """SET/result/results.json. resampled: what the intervals resample."""

    provenance: Annotated[Provenance, Key("about")]
    n_clips: int
    n_pieces: int
    resampled: Literal["pieces", "segments"]
    raters: dict[str, RatedShare]
    dimensions: dict[str, DimensionResults]
