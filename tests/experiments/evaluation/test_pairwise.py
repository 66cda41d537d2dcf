"""Pairwise accuracy and residual correlations against plain loops and closed forms; pairs and rows that are missing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from keybed.experiments.evaluation import tables
from keybed.experiments.evaluation.pairwise import PairwiseAccuracy
from keybed.experiments.evaluation.predictions import Predictions
from keybed.experiments.evaluation.residuals import combined_variance, error_pairs
from keybed.experiments.reports.error_section import error_section, in_words

N = 48
RNG = np.random.default_rng(0)


def made(n_seeds: int = 2) -> Predictions:
    """12 segments of 4 variants, 4 pieces; "midi" knows the scores better than "audio"."""
    score = RNG.uniform(50, 100, size=(N, 8)).astype(np.float32)
    score[2::4, 0] = score[1::4, 0]  # a pair in each segment that does not differ
    valid = RNG.random((N, 8)) > 0.1
    by_model = {
        name: (score + noise * RNG.normal(size=(n_seeds, N, 8))).astype(np.float32)
        for name, noise in (("audio", 20.0), ("midi", 8.0), ("fusion", 6.0))
    }
    by_model["midi"][:, 5] = by_model["midi"][:, 6]  # a tie
    at = np.arange(N)
    return Predictions(
        by_model, score, valid, (at % 4).astype(np.uint8), at // 4, at // 12, np.zeros((N, 6), np.float32)
    )


def test_pairwise_accuracy_against_plain_loops() -> None:
    predictions = made()
    table, mean = tables.pairwise_table(predictions, ("audio", "midi"))
    for name in ("audio", "midi"):
        shares = []
        for k, (dimension, interval) in enumerate(table[name].items()):
            right, pairs = 0.0, 0
            for i in range(N):
                for j in range(i):
                    same = predictions.segment[i] == predictions.segment[j] and predictions.valid[[i, j], k].all()
                    same &= min(predictions.tier[i], predictions.tier[j]) > 0
                    if not same or predictions.score[i, k] == predictions.score[j, k]:
                        continue
                    wanted = predictions.score[i, k] > predictions.score[j, k]
                    for one in predictions.by_model[name]:
                        right += 0.5 if one[i, k] == one[j, k] else float((one[i, k] > one[j, k]) == wanted)
                        pairs += 1
            assert interval.value == pytest.approx(right / pairs), dimension
            assert 0 <= interval.low <= interval.value <= interval.high <= 1
            shares.append(right / pairs)
        assert mean[name].value == pytest.approx(np.mean(shares[:7]))
    assert mean["midi"].value > mean["audio"].value + 0.1


def test_no_pair_that_differs_is_undefined_and_no_error() -> None:
    predictions = made()
    alone = replace(predictions, segment=np.arange(N, dtype=np.int32))
    equal = replace(predictions, score=np.full((N, 8), 97.5, np.float32))
    invalid = replace(predictions, valid=np.zeros((N, 8), bool))
    for case in (alone, equal, invalid):
        table, mean = tables.pairwise_table(case, ("audio",))
        assert all(np.isnan(v.value) and np.isnan(v.low) for v in table["audio"].values())
        assert np.isnan(mean["audio"].value)
    first = replace(predictions, segment=np.where(np.arange(N) < 4, 0, np.arange(N)).astype(np.int32))
    assert np.isfinite(PairwiseAccuracy(first)(np.ones((1, 4)))).all()


def test_the_best_weighting_has_the_variance_of_the_best_weights() -> None:
    """A grid over the weights finds what the formula says; weights may be negative."""
    for va, vm, rho in ((4.0, 1.0, 0.0), (4.0, 1.0, 0.5), (4.0, 1.0, 0.9), (2.0, 2.0, -0.3), (1.0, 9.0, 0.1)):
        covariance = rho * np.sqrt(va * vm)
        w = np.linspace(-3, 3, 60_001)
        grid = w**2 * va + (1 - w) ** 2 * vm + 2 * w * (1 - w) * covariance
        assert combined_variance(np.array(va), np.array(vm), np.array(covariance)) == pytest.approx(
            grid.min(), rel=1e-6
        )
    assert combined_variance(np.array(4.0), np.array(1.0), np.array(0.0)) == pytest.approx(0.8)  # 4·1/5
    assert combined_variance(np.array(1.0), np.array(1.0), np.array(1.0)) == 1.0  # two judges that are one
    assert combined_variance(np.array(4.0), np.array(1.0), np.array(1.0)) == pytest.approx(1.0)  # ρ = σ_m/σ_a: no gain


def test_residual_correlation_against_numpy() -> None:
    predictions = made()
    pairs = error_pairs(predictions, "fusion")
    rows = predictions.valid[:, 2] & (predictions.tier > 0)
    expected = []
    for s in range(2):
        a, m, f = (
            predictions.by_model[n][s, rows, 2] - predictions.score[rows, 2] for n in ("audio", "midi", "fusion")
        )
        rho, sa, sm = np.corrcoef(a, m)[0, 1], a.std(), m.std()
        best = sa**2 * sm**2 * (1 - rho**2) / (sa**2 + sm**2 - 2 * rho * sa * sm)
        expected.append([rho, sa, sm, 1 - best / min(sa, sm) ** 2, 1 - (f.std() / min(sa, sm)) ** 2])
    pair = pairs["articulation_clarity"]
    got = [pair.correlation, pair.error["audio"], pair.error["midi"], pair.allowed, pair.reached]
    np.testing.assert_allclose([v.value for v in got], np.mean(expected, axis=0), rtol=1e-4)
    assert all(v.low <= v.value <= v.high for v in got)
    section = error_section(pairs, dict.fromkeys(pairs, "MIDI only"))
    assert len(section.tables[0].rows) == 8
    assert in_words(pairs).startswith("Weighting could gain 5 % or more in note accuracy, ")


def test_equal_heads_leave_nothing_to_gain_and_no_valid_row_is_undefined() -> None:
    predictions = made()
    twin = replace(predictions, by_model={**predictions.by_model, "audio": predictions.by_model["midi"]})
    pairs = error_pairs(twin, "midi")
    for pair in pairs.values():
        assert pair.correlation.value == pytest.approx(1, abs=1e-6)
        assert pair.allowed.value == pytest.approx(0, abs=1e-6)
        assert pair.reached.value == pytest.approx(0, abs=1e-6)
    assert (
        "or more in no dimension. The fusion errs less than the better head, with its whole interval, in no"
        in in_words(pairs)
    )
    nothing = error_pairs(replace(predictions, valid=np.zeros((N, 8), bool)), "fusion")
    assert all(np.isnan(p.correlation.value) for p in nothing.values())
    assert "nothing can be said" in in_words(nothing)
    assert error_section(nothing).tables[0].rows[0][-1] == "undefined"
