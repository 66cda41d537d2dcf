"""One curve per axis: score to level and back, piecewise linear and strictly monotone through its anchors."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from keybed.store.format.vocabulary import AXES, LEVELS, TIERS

PRISTINE_SCORE, LOWEST_SCORE = 97.5, 50.0
SCORE_ANCHORS = (97.5, 87.5, 72.5, 57.5)
"""The middles of the four tiers' bands. Below the last anchor the curve is extrapolated to LOWEST_SCORE."""
TIER_BANDS = ((95.0, 100.0), (80.0, 95.0), (65.0, 80.0), (50.0, 65.0))
"""Lowest and highest score of each tier, in the order of TIERS."""


@dataclass(frozen=True)
class Curve:
    """Levels of one axis at SCORE_ANCHORS; the first level changes nothing."""

    unit: str
    levels: tuple[float, float, float, float]
    source: str

    @property
    def untouched(self) -> float:
        """The level at which the axis changes nothing."""
        return self.levels[0]

    @cached_property
    def _knots(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        (s2, s3), (l2, l3) = SCORE_ANCHORS[2:], self.levels[2:]
        lowest = l3 + (l3 - l2) / (s3 - s2) * (LOWEST_SCORE - s3)
        return np.array([*SCORE_ANCHORS, LOWEST_SCORE]), np.array([*self.levels, lowest])

    def level(self, score: float | NDArray[np.float64]) -> NDArray[np.float64]:
        """Level of each score; scores above 97.5 give the untouched level."""
        scores, levels = self._knots
        return np.asarray(np.interp(score, scores[::-1], levels[::-1]))

    def score(self, level: float | NDArray[np.float64]) -> NDArray[np.float64]:
        """Score of each level, the inverse of `level` on 50..97.5; worse levels score 50."""
        scores, levels = self._knots
        if levels[0] > levels[-1]:
            return np.asarray(np.interp(level, levels[::-1], scores[::-1]))
        return np.asarray(np.interp(level, levels, scores))


def _amplitude(snr_db: float) -> float:
    return float(10 ** (-snr_db / 20))


_EXPRESSION = Curve("share of the slow arch kept", (1.0, 0.80, 0.50, 0.20), "ours")
CURVES: dict[str, Curve] = {
    "notes": Curve("severity-weighted errors a note", (0.0, 0.005, 0.02, 0.05), "plan: 2 % and 5 %; ours: 0.5 %"),
    "timing": Curve("onset shift sd in ms", (0.0, 10.0, 30.0, 60.0), "plan"),
    "articulation": Curve("sd of log note length", (0.0, 0.10, 0.25, 0.45), "ours"),
    "pedal": Curve("share of pedal changes spoiled", (0.0, 0.10, 0.30, 0.55), "ours"),
    "tone": Curve(
        "noise rms / signal rms", (0.0, _amplitude(35), _amplitude(25), _amplitude(20)), "plan: 35 dB; ours: 25, 20 dB"
    ),
    "dynamics": Curve("share of velocity deviation kept", (1.0, 0.85, 0.60, 0.35), "ours"),
    "expression": _EXPRESSION,
    "tempo": _EXPRESSION,
}
UNTOUCHED = np.array([CURVES[name].untouched for name in LEVELS], np.float32)
"""The levels (8,) of a pristine row, in the order of LEVELS."""


def levels_of(score_axes: NDArray[np.float64]) -> NDArray[np.float32]:
    """Target levels, float32 (…, 8), of scores (…, 7) in the order of AXES; tempo takes the score of expression."""
    columns = [CURVES[axis].level(score_axes[..., i]) for i, axis in enumerate(AXES)]
    columns.append(CURVES["tempo"].level(score_axes[..., AXES.index("expression")]))
    return np.stack(columns, -1).astype(np.float32)


assert len(TIER_BANDS) == len(TIERS)
assert tuple(CURVES) == LEVELS
