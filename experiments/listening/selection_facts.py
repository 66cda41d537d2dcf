"""What `phase5 select` tells about the sample that it drew: power, score ranges, label correlations. No answers."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.data.json_codec import Key
from keybed.experiments.listening.config import SelectConfig
from keybed.experiments.listening.model_predictions import ModelPredictions
from keybed.experiments.listening.power import power
from keybed.experiments.listening.stratified_sample import (
    Candidates,
    label_correlations,
    shares_of_ranges,
    thirds_of_uncertainty,
)
from keybed.store.format.vocabulary import AXIS_DIMENSIONS

ASSUMED_RELIABILITY = 0.7
"""Assumed reliability of the mean of three to four raters; `ingest` measures it."""
Matrix = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class SamplePower:
    """Power of the sample for raters whose mean has the assumed reliability; see `Power`."""

    assumed_reliability: float
    smallest_r: float
    smallest_true_r: float
    smallest_specific_r: float
    interval_at_half: tuple[float, ...]


@dataclass(frozen=True)
class SampleFacts:
    """The numbers of design.json and design.html. label_correlations: (dimension, dimension) of the axis dimensions.

    model_known: clips were balanced by a model's uncertainty. clips_of_a_piece: fewest and most. score_ranges: share of
    clips by dimension and range. score_quantiles: minimum, quartiles and maximum. power: None where n is too small for a
    partial correlation given six others.
    """

    n: int
    n_pieces: int
    n_anchors: int
    repeats: int
    raters: tuple[str, ...]
    seed: int
    model_known: bool
    pristine_share: float
    label_correlations: Matrix
    largest_label_correlation: float
    label_correlations_before: Matrix
    largest_before: float
    clips_of_a_piece: tuple[int, ...]
    sure_middle_unsure: tuple[int, ...]
    score_ranges: dict[str, tuple[float, ...]]
    score_quantiles: dict[str, tuple[float, ...]]
    valid_clips: Annotated[dict[str, int], Key("judgeable")]
    power: SamplePower | None
    trial: bool
    drawn_from: str
    audio_source: str


def sample_facts(
    config: SelectConfig,
    candidates: Candidates,
    chosen: NDArray[np.int64],
    practice: Collection[int],
    predictions: ModelPredictions | None,
    audio_source: str,
) -> SampleFacts:
    """Facts of the chosen clips among the candidates."""
    score, valid = candidates.score[chosen], candidates.valid[chosen]
    r = label_correlations(score, valid)
    before = label_correlations(candidates.score, candidates.valid)
    off = ~np.eye(len(r), dtype=bool)
    of_piece = np.unique(candidates.piece[chosen], return_counts=True)[1]
    return SampleFacts(
        n=config.n,
        n_pieces=of_piece.size,
        n_anchors=len(practice),
        repeats=config.repeats or 0,
        raters=tuple(config.raters),
        seed=config.seed,
        model_known=predictions is not None,
        pristine_share=float(candidates.pristine[chosen].mean()),
        label_correlations=_rows(r),
        largest_label_correlation=float(np.abs(r[off]).max()),
        label_correlations_before=_rows(before),
        largest_before=float(np.abs(before[off]).max()),
        clips_of_a_piece=(int(of_piece.min()), int(of_piece.max())),
        sure_middle_unsure=tuple(thirds_of_uncertainty(candidates.unsure[chosen]).tolist()),
        score_ranges=dict(zip(AXIS_DIMENSIONS, _rows(shares_of_ranges(score, valid).T), strict=True)),
        score_quantiles={
            name: tuple(np.quantile(score[valid[:, k], k], [0, 0.25, 0.5, 0.75, 1]).tolist())
            for k, name in enumerate(AXIS_DIMENSIONS)
            if valid[:, k].any()
        },
        valid_clips={name: int(valid[:, k].sum()) for k, name in enumerate(AXIS_DIMENSIONS)},
        power=_power(config.n),
        trial=config.trial,
        drawn_from="all rows of the store" if config.trial else "the whole test split",
        audio_source=audio_source,
    )


def _rows(matrix: NDArray[np.float64]) -> Matrix:
    return tuple(tuple(row) for row in matrix.tolist())


def _power(n: int) -> SamplePower | None:
    controls = len(AXIS_DIMENSIONS) - 1
    if n < 4 + controls:
        return None
    plain, specific = power(n, ASSUMED_RELIABILITY), power(n, ASSUMED_RELIABILITY, controls=controls)
    return SamplePower(
        ASSUMED_RELIABILITY, plain.smallest_r, plain.smallest_true_r, specific.smallest_r, plain.interval_at_half
    )
