from __future__ import annotations

import numpy as np

from keybed.heads.fit_config import FitConfig


def test_rates_rise_then_fall_along_a_cosine():
    rate = FitConfig(learning_rate=1e-3, warmup=0.1).rates(1000)
    assert len(rate) == 1024
    np.testing.assert_allclose(rate[:100], 1e-3 * np.arange(1, 101) / 100, rtol=1e-5)
    middle = 0.5e-3 * (1 + np.cos(np.pi * np.arange(1, 901) / 900))
    np.testing.assert_allclose(rate[100:1000], middle, rtol=1e-3, atol=1e-9)
    assert (rate[1000:] == rate[999]).all()
    assert np.isfinite(FitConfig(epochs=1).rates(1)).all()
