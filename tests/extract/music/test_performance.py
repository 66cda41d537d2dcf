"""What `playable` makes of any notes."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings

from keybed.extract.music.performance import Performance, playable
from tests.extract.examples import performances
from tests.extract.playability import problems


@settings(max_examples=50, deadline=None)
@given(p=performances())
def test_tidying_twice_changes_nothing(p: Performance) -> None:
    assert list(problems(p)) == []
    again = playable(p.onset_s, p.offset_s, p.pitch, p.velocity, p.pedal_s, p.pedal_value)
    for name in Performance.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(again, name), getattr(p, name))
