from __future__ import annotations

import numpy as np
import pytest

from keybed.extract.encoders.baselines.arch_features import (
    ARCH_CONTEXTS,
    FLOOR,
    TREND_WIDTHS_S,
    arch_contexts,
    arch_measures,
    trends_of,
)
from keybed.extract.encoders.baselines.contexts import Contexts
from tests.extract.encoders.baselines.notes import Note, performance, scale


def window_of(notes: list[Note]) -> dict[str, float]:
    trends = trends_of(performance(notes), 10.0)
    table = np.concatenate(arch_contexts(trends, Contexts(trends.time_s, 20, 10.0)), axis=1)
    return dict(zip(ARCH_CONTEXTS, table[-1].tolist(), strict=True))


def test_trends_are_gaussian_means_of_velocity() -> None:
    # Onsets in the middle of cells of the grid, which then adds nothing.
    onset_s = np.sort(np.random.default_rng(0).choice(100, 60, replace=False)) * 0.1 + 0.05
    velocity = np.random.default_rng(1).integers(30, 100, 60)
    notes = [(float(t), float(t) + 0.1, 60, int(v)) for t, v in zip(onset_s, velocity, strict=True)]
    values = trends_of(performance(notes), 10.0).values
    assert values[:, 0].tolist() == velocity.tolist()
    for width_s, trend in zip(TREND_WIDTHS_S, values[:, 1:].T, strict=True):
        expected = [np.average(velocity, weights=np.exp(-0.5 * ((onset_s - t) / width_s) ** 2)) for t in onset_s]
        np.testing.assert_allclose(trend, expected)


def test_one_velocity_has_no_trend() -> None:
    for name, value in window_of(scale()).items():
        assert value == pytest.approx(np.log2(FLOOR)), name


def test_a_swell_is_in_the_trend_and_accents_are_not() -> None:
    swell = [(on, off, p, 40 + 3 * i) for i, (on, off, p, _) in enumerate(scale())]
    accents = [(on, off, p, 64 + 14 * (-1) ** i) for i, (on, off, p, _) in enumerate(scale())]
    arch, accented = window_of(swell), window_of(accents)
    # The narrowest trend nearly follows the velocities 40 to 88, whose sd is 3 · sqrt((17² − 1) / 12).
    assert arch["trend_sd_0.25s_log2"] == pytest.approx(np.log2(3 * np.sqrt(24) + FLOOR), abs=0.1)
    assert arch["trend_range_0.25s_log2"] == pytest.approx(np.log2(48 + FLOOR), abs=0.1)
    assert arch["trend_sd_3s_log2"] < arch["trend_sd_1.5s_log2"] < arch["trend_sd_0.5s_log2"]
    assert accented["trend_sd_1.5s_log2"] < 1.5
    assert accented["accent_sd_1.5s_log2"] == pytest.approx(np.log2(14 + FLOOR), abs=0.1)


def test_an_arch_is_the_distance_from_the_windows_mean_trend() -> None:
    loud = [(on, off, p, 50 if on < 5 else 90) for on, off, p, _ in scale(16)]
    arch = arch_measures(trends_of(performance(loud), 10.0)).values
    assert arch[[0, -1], 0] == pytest.approx([20, 20], abs=0.5)
    assert arch[:, 0].mean() > arch[:, -1].mean()
