"""Measures over the contexts of bins, against plain NumPy on the events that lie in each."""

from __future__ import annotations

import numpy as np
import pytest

from keybed.extract.encoders.baselines.contexts import CONTEXT_S, FEWEST, Contexts

TIME_S = np.sort(np.random.default_rng(1).uniform(0, 10, 60))
VALUES = np.random.default_rng(2).normal(0, 3, (60, 2))


def own_events(n_bins: int = 5) -> list[np.ndarray]:
    """The events of each bin's context, then of the window."""
    centres = (np.arange(n_bins) + 0.5) * 10 / n_bins
    return [*(np.flatnonzero(np.abs(TIME_S - c) <= CONTEXT_S) for c in centres), np.arange(TIME_S.size)]


def test_quantiles_are_numpys_inverted_cdf() -> None:
    table = Contexts(TIME_S, 5, 10.0).quantiles(VALUES, [(0, 0.1), (1, 0.5), (0, 0.9), (0, 1.0)])
    for row, events in zip(table, own_events(), strict=True):
        own = VALUES[events]
        expected = [np.quantile(own[:, c], q, method="inverted_cdf") for c, q in ((0, 0.1), (1, 0.5), (0, 0.9))]
        assert row == pytest.approx([*expected, own[:, 0].max()])


def test_log_sd_and_log_range_are_those_of_the_contexts_events() -> None:
    contexts = Contexts(TIME_S, 5, 10.0)
    sd, span = contexts.log_sd(VALUES, 0.1), contexts.log_range(VALUES, 0.1)
    for row, events in enumerate(own_events()):
        assert sd[row] == pytest.approx(np.log2(VALUES[events].std(axis=0) + 0.1))
        assert span[row] == pytest.approx(np.log2(np.ptp(VALUES[events], axis=0) + 0.1))


def test_means_and_correlations_are_those_of_the_contexts_events() -> None:
    contexts, other = Contexts(TIME_S, 5, 10.0), VALUES[:, :1] + VALUES[:, 1:]
    mean, fit = contexts.means(VALUES), contexts.correlations(VALUES[:, 0], np.column_stack([other, np.ones(60)]))
    for row, events in enumerate(own_events()):
        assert mean[row] == pytest.approx(VALUES[events].mean(axis=0))
        assert fit[row] == pytest.approx([np.corrcoef(VALUES[events, 0], other[events, 0])[0, 1], 0])


def test_contexts_with_too_few_events_take_the_windows_measure_and_such_windows_are_zero() -> None:
    time_s, values = np.array([0.1, 0.2, 0.3, 9.0]), np.array([[1.0], [2.0], [3.0], [40.0]])
    contexts = Contexts(time_s, 5, 10.0)
    assert contexts.quantiles(values, [(0, 1.0)])[:, 0].tolist() == [3, 40, 40, 40, 40, 40]
    assert contexts.log_range(values, 1.0)[:, 0] == pytest.approx(np.log2([3, 40, 40, 40, 40, 40]))
    few = Contexts(time_s[: FEWEST - 1], 5, 10.0)
    for table in (few.quantiles(values[:2], [(0, 0.5)]), few.log_sd(values[:2], 1.0), few.log_range(values[:2], 1.0)):
        assert table.tolist() == [[0.0]] * 6
