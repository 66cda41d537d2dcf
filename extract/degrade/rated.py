"""Labels of a row that people have rated: their ratings in place of the scores of a degradation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from keybed.extract.degrade.variant import Variant
from keybed.store.format.vocabulary import DIMENSIONS, Status


def with_ratings(
    variant: Variant, rating: NDArray[np.float32], names: Sequence[str], scale: tuple[float, float]
) -> Variant:
    """The row with scores (8,) from its ratings (names,): 0 for the worst of the scale, 100 for the best.

    Dimensions of other names have no place in the scores; they stay in `row/rating`. What is not rated is not valid.
    """
    score = np.full(len(DIMENSIONS), np.nan, np.float32)
    worst, best = scale
    for name, value in zip(names, rating.tolist(), strict=True):
        if name in DIMENSIONS:
            score[DIMENSIONS.index(name)] = 100 * (value - worst) / (best - worst)
    valid = np.isfinite(score) & (variant.status == Status.OK)
    return replace(variant, score=score, valid=valid)
