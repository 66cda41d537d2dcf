"""The loudness trend against a plain loop."""

from __future__ import annotations

import numpy as np
import pytest

from keybed.extract.music.loudness_trend import loudness_trend
from tests.extract.examples import steady


def test_the_trend_is_the_gaussian_mean_that_a_plain_loop_finds() -> None:
    p = steady(n=90, every_s=0.13)
    trend = loudness_trend(p.onset_s, p.velocity)
    for i in (0, 44, 89):
        weight = np.exp(-0.5 * ((p.onset_s - p.onset_s[i]) / 1.5) ** 2)
        assert trend[i] == pytest.approx(np.sum(weight * p.velocity) / weight.sum(), abs=0.15)
