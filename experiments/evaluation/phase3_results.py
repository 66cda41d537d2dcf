"""Phase 3's results.json as dataclasses; every key and value on disk is a field here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from keybed.experiments.data.json_codec import Key
from keybed.experiments.data.run_facts import Machine, Pair, RowCounts, RunBefore, StoreFacts
from keybed.experiments.evaluation.ablation_results import Ablations
from keybed.experiments.evaluation.alignment_measures import Collapse, Projection2d, Retrieval
from keybed.experiments.evaluation.fusion_gain import Gain
from keybed.experiments.evaluation.intervals import Interval
from keybed.experiments.evaluation.model_selection import Choice


@dataclass(frozen=True)
class Alignment:
    """Paired minus unpaired cosine: trained projections, untrained ones, and canonical correlation."""

    after: Interval
    before: Interval
    cca: Interval


@dataclass(frozen=True)
class VariantRecall:
    """R@1 of a row's partner among the variants of its segment, and R@1 by chance."""

    after: Interval
    before: Interval
    cca: Interval
    chance: float


@dataclass(frozen=True)
class RetrievalBeforeAfter:
    """Retrieval in the first fold."""

    after: Retrieval
    before: Retrieval


@dataclass(frozen=True)
class CollapseBeforeAfter:
    """Collapse measures by modality in the first fold."""

    after: dict[str, Collapse]
    before: dict[str, Collapse]


@dataclass(frozen=True)
class Retention:
    """Mean specific r of a ridge probe on raw features and on projections, and aligned ÷ raw."""

    raw: Interval
    aligned: Interval
    ratio: Interval


@dataclass(frozen=True)
class Phase3Gains:
    """Fusion gain on aligned features, and Phase 2's gain (a)."""

    aligned: Gain
    phase2: Gain


@dataclass(frozen=True)
class ChosenFusion:
    """The fusion chosen most often, and every fold's choice."""

    fusion: str
    each_fold: tuple[Choice, ...]


@dataclass(frozen=True)
class HeadSettings:
    """What Phase 4 needs to know: Phase 2's settings of the heads, its number of folds and its best fusion.

    pooling, weight_decay: in runs of before these two settings heads pooled the mean alone, with AdamW's decay at 0.01.
    """

    hidden: int
    batch_rows: int | None
    learning_rate: float
    seeds: int
    folds: int
    fusion: str
    pooling: Literal["mean", "statistics"] = "mean"
    weight_decay: float | None = 0.01


@dataclass(frozen=True)
class Projections2d:
    """Embeddings of the first fold on two principal axes."""

    before: Projection2d
    after: Projection2d


@dataclass(frozen=True)
class Phase3Results:
    """RUN/results.json of Phase 3. budget: Phase 2's. history: an entry per epoch of the first fold's projections.

    terms: the switches of the objective, none in runs of before they existed. ablations: None where no table was asked for.
    pairwise: mean share of pairs of variants in the right order, by model. depth: with `--blockwise` the alignment of each
    encoder state with the other modality's clip vectors, by modality, mean of the folds; else None.
    """

    phase: Literal[3]
    store: StoreFacts
    pair: Pair
    budget: dict[str, Any]
    after: RunBefore
    rows: Annotated[RowCounts, Key("judged")]
    alignment: Alignment
    variant_recall: VariantRecall
    retrieval: RetrievalBeforeAfter
    collapse: Annotated[CollapseBeforeAfter, Key("spread")]
    retention: Retention
    gain: Phase3Gains
    mean: dict[str, Interval]
    chosen: ChosenFusion
    heads: HeadSettings
    steps: int
    temperature: tuple[float, ...]
    history: tuple[dict[str, Any], ...]
    projections_2d: Annotated[Projections2d, Key("plane")]
    machine: Machine
    seconds: float
    terms: dict[str, Any] = field(default_factory=dict)
    ablations: Ablations | None = None
    pairwise: dict[str, Interval] = field(default_factory=dict)
    depth: dict[str, tuple[float, ...]] | None = None
