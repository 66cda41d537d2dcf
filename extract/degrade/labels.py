"""Labels of a row: scores from realised levels, and which dimensions the window can show."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from keybed.extract.degrade.articulation import audible_releases
from keybed.extract.degrade.curves import CURVES, PRISTINE_SCORE
from keybed.extract.music.pedal import lift_times
from keybed.extract.music.performance import Performance
from keybed.store.format.vocabulary import AXES, AXIS_DIMENSIONS, DIMENSIONS, LEVELS

OVERALL_WEIGHTS = {
    "note_accuracy": 0.20,
    "rhythmic_stability": 0.20,
    "articulation_clarity": 0.125,
    "pedal_technique": 0.125,
    "tone_quality": 0.075,
    "dynamic_range": 0.125,
    "musical_expression": 0.15,
}
"""Weight of each dimension in overall_interpretation, renormalised over the valid dimensions.

Ours: technique 0.65, timbre and dynamics 0.20, interpretation 0.15.
"""
OVERALL_MIN_WEIGHT = 0.5
"""overall_interpretation is valid where the valid dimensions hold at least this share of the weight."""
FEWEST_NOTES = 20
"""note_accuracy, rhythmic_stability, dynamic_range and musical_expression need this many notes in the window."""
FEWEST_LIFTS = 2
"""pedal_technique needs this many pedal lifts in the window."""
FEWEST_RELEASES = 8
"""articulation_clarity needs this many audible releases in the window."""
LEAST_SPREAD = 1.0
"""Least sd, in velocity steps, of the deviation (dynamics) or the arch (expression) for the dimension to be valid."""

_WEIGHT = np.array([OVERALL_WEIGHTS[name] for name in AXIS_DIMENSIONS])


def valid_dimensions(
    p: Performance, trend: NDArray[np.float64], *, tempo_sure: bool, window_s: float
) -> NDArray[np.bool_]:
    """Dimensions, bool (8,), that the undegraded window can show; equal for all variants of a segment.

    trend: the loudness trend (n,). tempo_sure: whether the beat tracker is sure (`Beats.sure`).
    """
    inside = (p.onset_s >= 0) & (p.onset_s < window_s)
    enough = int(inside.sum()) >= FEWEST_NOTES
    deviates = enough and float((p.velocity - trend)[inside].std()) >= LEAST_SPREAD
    arches = enough and (tempo_sure or float(trend[inside].std()) >= LEAST_SPREAD)
    lift_s = lift_times(p.pedal_s, p.pedal_value)
    axes = {
        "notes": enough,
        "timing": enough,
        "articulation": int(audible_releases(p, window_s).sum()) >= FEWEST_RELEASES,
        "pedal": int(((lift_s >= 0) & (lift_s < window_s)).sum()) >= FEWEST_LIFTS,
        "tone": bool(inside.any()),
        "dynamics": deviates,
        "expression": arches,
    }
    valid = np.array([axes[axis] for axis in AXES])
    overall = float(_WEIGHT[valid].sum()) >= OVERALL_MIN_WEIGHT
    return np.append(valid, overall)


def scores(level: NDArray[np.float32], valid: NDArray[np.bool_], *, tempo_applied: bool) -> NDArray[np.float32]:
    """Scores, float32 (8,), of realised levels (8,).

    musical_expression is the mean of its loudness and tempo halves where the tempo was changed, else the loudness half.
    overall_interpretation is the weighted mean over the valid dimensions, or over all seven where none is valid.
    """
    by_level = {name: float(CURVES[name].score(level[i])) for i, name in enumerate(LEVELS)}
    axes = np.array([by_level[axis] for axis in AXES])
    if tempo_applied:
        axes[AXES.index("expression")] = 0.5 * (by_level["expression"] + by_level["tempo"])
    weight = np.where(valid[:-1], _WEIGHT, 0.0)
    if weight.sum() == 0:
        weight = _WEIGHT
    return np.append(axes, (axes * weight).sum() / weight.sum()).astype(np.float32)


assert tuple(OVERALL_WEIGHTS) == AXIS_DIMENSIONS == DIMENSIONS[:-1]
assert abs(_WEIGHT.sum() - 1) < 1e-12
assert float(CURVES["notes"].score(0.0)) == PRISTINE_SCORE
