from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keybed.extract.degrade.curves import CURVES, LOWEST_SCORE, SCORE_ANCHORS, levels_of
from keybed.store.format.vocabulary import AXES, LEVELS

# DESIGN's table, column by column: the levels at 97.5, 87.5, 72.5 and 57.5.
TABLE = {
    "notes": (0, 0.005, 0.02, 0.05),
    "timing": (0, 10, 30, 60),
    "articulation": (0, 0.10, 0.25, 0.45),
    "pedal": (0, 0.10, 0.30, 0.55),
    "tone": (0, 0.0178, 0.0562, 0.1),
    "dynamics": (1, 0.85, 0.60, 0.35),
    "expression": (1, 0.80, 0.50, 0.20),
    "tempo": (1, 0.80, 0.50, 0.20),
}
# And where the last straight line reaches score 50, by hand.
AT_FIFTY = {"notes": 0.065, "timing": 75.0, "articulation": 0.55, "pedal": 0.675, "dynamics": 0.225, "expression": 0.05}


@pytest.mark.parametrize("axis", LEVELS)
def test_curves_go_through_the_anchors(axis: str) -> None:
    np.testing.assert_allclose(CURVES[axis].level(np.array(SCORE_ANCHORS)), TABLE[axis], atol=5e-5)
    if axis in AT_FIFTY:
        assert CURVES[axis].level(50.0) == pytest.approx(AT_FIFTY[axis])


@pytest.mark.parametrize("axis", LEVELS)
@given(score=st.floats(LOWEST_SCORE, 97.5))
def test_score_to_level_and_back_is_the_identity(axis: str, score: float) -> None:
    curve = CURVES[axis]
    assert float(curve.score(curve.level(score))) == pytest.approx(score, abs=1e-9)


@pytest.mark.parametrize("axis", LEVELS)
def test_curves_are_strictly_monotone_and_end_where_the_scale_ends(axis: str) -> None:
    curve = CURVES[axis]
    levels = curve.level(np.linspace(50, 97.5, 2000))
    assert (np.diff(levels) > 0).all() or (np.diff(levels) < 0).all()
    assert float(curve.level(100.0)) == curve.untouched
    assert float(curve.score(curve.untouched)) == 97.5
    beyond = levels[0] + (levels[0] - curve.untouched)
    assert float(curve.score(beyond)) == 50.0


def test_levels_of_scores_are_each_axis_own_and_tempo_goes_with_expression() -> None:
    scores = np.array([95.0, 90.0, 85.0, 80.0, 75.0, 70.0, 65.0])
    levels = levels_of(scores)
    assert levels.shape == (8,)
    assert levels.dtype == np.float32
    for i, axis in enumerate(AXES):
        assert levels[i] == np.float32(CURVES[axis].level(scores[i]))
    assert levels[7] == levels[6]
