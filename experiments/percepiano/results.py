"""RUN/results.json of `keybed phase5 percepiano` as dataclasses; every key and value on disk is a field here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from keybed.experiments.data.json_codec import Key
from keybed.experiments.data.run_facts import Pair
from keybed.experiments.evaluation.intervals import Interval
from keybed.experiments.percepiano.ceiling import Ceilings
from keybed.experiments.percepiano.config import HeadPlan
from keybed.experiments.percepiano.zero_shot import Answer


@dataclass(frozen=True)
class RatingFacts:
    """The performances. n: all of them. human: those that are no score renderings. compositions: performances of each.

    problems: remarks on the files.
    """

    n: int
    human: int
    compositions: dict[str, int]
    passages: int
    players: int
    problems: tuple[str, ...]


@dataclass(frozen=True)
class EncoderUsed:
    """An encoder. random: it ran with seeded random weights."""

    name: str
    source: str
    random: bool


@dataclass(frozen=True)
class ComparedZeroShot:
    """A difference ridge, fitted to the run's store, against the ratings.

    answers, mean: as `ZeroShot` has them. over_head: its mean minus that of the run's head. each: r by what the ridge reads
    ("audio", "midi", "both"), in the order of the answers. test_r: dimension → specific r of its differences on the store's
    test split, rows that are not pristine.
    """

    answers: tuple[Answer, ...]
    mean: Interval
    over_head: Interval
    each: dict[str, tuple[Interval, ...]]
    test_r: dict[str, float | None]


@dataclass(frozen=True)
class ZeroShot:
    """Heads of an earlier run against the ratings.

    random: the run's encoders with random weights. answers: of `head`. other_heads: r of every head, in the order of the
    answers. mean: r, mean over the confirmatory questions; None in runs of before it was measured. compared: None where
    the store lacks rows to fit it to (why_not_compared says so), and in earlier runs.
    """

    head: str
    run: str
    pair: Pair
    random: tuple[str, ...]
    answers: tuple[Answer, ...]
    other_heads: dict[str, tuple[Interval, ...]]
    mean: Interval | None = None
    compared: ComparedZeroShot | None = None
    why_not_compared: str = ""


@dataclass(frozen=True)
class ModelScores:
    """One model under one protocol: R² and r over all performances, and within-passage r over human performances.

    r2, r and their values by scale: None for models that predict deviations from the passage, which have no level.
    within_with_scores: within-passage r with score renderings included. pairwise: share of pairs of human performances of one
    passage whose order is predicted right, mean over scales. over_plain_trees: difference in within-passage r.
    """

    r2: float | None
    r: float | None
    r2_by_scale: tuple[float, ...] | None
    r_by_scale: tuple[float, ...] | None
    within_r: Interval
    within_by_scale: tuple[float, ...]
    within_with_scores: float
    pairwise: float
    over_plain_trees: Interval
    by_composition: dict[str, float]


@dataclass(frozen=True)
class ProtocolResults:
    """Every model under one protocol. held_back: what its folds hold back, in words. choices: the model chosen in each fold."""

    held_back: Annotated[str, Key("about")]
    models: dict[str, ModelScores]
    choices: tuple[str, ...]
    scales: tuple[str, ...]


@dataclass(frozen=True)
class RunSettings:
    """What the run was asked for. heads: None where no heads were fitted."""

    seed: int
    replicates: int
    hop_s: float
    heads: HeadPlan | None


@dataclass(frozen=True)
class PercepianoResults:
    """RUN/results.json. zero_shot: None without a run to take heads from. protocols: those that are finished."""

    data: RatingFacts
    encoders: tuple[EncoderUsed, ...]
    ceiling: Ceilings
    zero_shot: ZeroShot | None
    protocols: dict[str, ProtocolResults]
    config: RunSettings
