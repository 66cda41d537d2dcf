"""Choose the best modality, fusion and specialists on validation rows, and compose their predictions of test rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.evaluation.fusion_gain import TONE
from keybed.experiments.evaluation.model_names import (
    BEST_FUSION,
    BEST_SINGLE,
    BEST_SINGLE_WITHOUT_TONE,
    FUSIONS,
    SINGLES,
    SPECIALISTS,
)
from keybed.experiments.evaluation.predictions import Correlations, Predictions, over_dimensions, over_seeds
from keybed.store.format.vocabulary import AXIS_DIMENSIONS, DIMENSIONS


@dataclass(frozen=True)
class Choice:
    """Names of the chosen heads. specialists: one of the single modalities for each of the eight dimensions, in order."""

    single: str
    single_without_tone: str
    fusion: str
    specialists: dict[str, str]
    validation: dict[str, float]
    """Mean specific r of every head on the validation rows, over seeds and dimensions."""


def choose(validation: Predictions, fusions: Sequence[str] = FUSIONS) -> Choice:
    """Best by mean specific r on validation rows; ties and undefined values go to the first name.

    overall_interpretation has no specific r: its specialist is the best single modality.
    """
    names = [name for name in (*SINGLES, *fusions) if name in validation.names]
    correlations = Correlations(validation.only(tuple(names)), "specific")
    ones = np.ones((1, correlations.n_pieces)), np.ones((1, correlations.n_seeds))
    r = over_seeds(correlations(ones[0]), ones[1])
    mean = dict(zip(names, np.nan_to_num(over_dimensions(r))[0], strict=True))
    toneless = [k for k in range(len(AXIS_DIMENSIONS)) if k != TONE]
    bare = dict(zip(names, np.nan_to_num(over_dimensions(r[:, toneless]))[0], strict=True))
    at = [names.index(name) for name in SINGLES]
    each = np.nan_to_num(r[0][:, at], nan=-1.0)
    single = max(SINGLES, key=lambda name: mean[name])
    specialists = [SINGLES[int(np.argmax(row))] for row in each]
    return Choice(
        single=single,
        single_without_tone=max(SINGLES, key=lambda name: bare[name]),
        fusion=max((f for f in fusions if f in mean), key=lambda name: mean[name]),
        specialists=dict(zip(DIMENSIONS, (*specialists, single), strict=True)),
        validation={name: float(value) for name, value in mean.items()},
    )


def compose(predictions: Mapping[str, NDArray[np.float32]], choice: Choice) -> dict[str, NDArray[np.float32]]:
    """The composed models that gates compare, from every head's predictions (seed, row, dimension)."""
    specialists = np.stack([predictions[name][:, :, k] for k, name in enumerate(choice.specialists.values())], axis=2)
    return {
        BEST_FUSION: predictions[choice.fusion],
        BEST_SINGLE: predictions[choice.single],
        BEST_SINGLE_WITHOUT_TONE: predictions[choice.single_without_tone],
        SPECIALISTS: specialists,
    }


def most_often(names: Sequence[str]) -> str:
    """The most frequent name, the first of equals: for reports where folds chose differently."""
    return max(dict.fromkeys(names), key=list(names).count)
