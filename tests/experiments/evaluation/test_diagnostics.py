"""Each measure against cases whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from keybed.experiments.evaluation import diagnostics


def test_uniform_attention_has_entropy_one_and_no_preference() -> None:
    valid = np.ones((3, 20), bool)
    uniform = np.full((3, 20), 1 / 20)
    np.testing.assert_allclose(diagnostics.attention_entropy(uniform, valid), 1.0)
    np.testing.assert_allclose(diagnostics.attention_sparsity(uniform, valid), 0.1)


def test_masked_keys_leave_both_sums() -> None:
    valid = np.arange(20) < 10
    weights = np.where(valid, 1 / 10, 0.0)[None]
    np.testing.assert_allclose(diagnostics.attention_entropy(weights, valid[None]), 1.0)
    np.testing.assert_allclose(diagnostics.attention_sparsity(weights, valid[None]), 0.1)


def test_one_hot_attention_is_zero_entropy_and_all_mass() -> None:
    one_hot = np.eye(20)
    valid = np.ones((20, 20), bool)
    np.testing.assert_allclose(diagnostics.attention_entropy(one_hot, valid), 0.0, atol=1e-9)
    np.testing.assert_allclose(diagnostics.attention_sparsity(one_hot, valid), 1.0)


def test_one_key_has_no_entropy() -> None:
    valid = np.zeros((1, 5), bool)
    valid[0, 2] = True
    assert np.isnan(diagnostics.attention_entropy(valid.astype(float), valid)).all()


def test_identical_features_align_and_share_a_map() -> None:
    x = np.random.default_rng(0).normal(size=(300, 16))
    assert diagnostics.alignment(x, x) == pytest.approx(1.0, abs=0.01)
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(16, 16)))[0]
    assert diagnostics.cka(x, 3 * x @ rotation) == pytest.approx(1.0, abs=1e-9)


def test_independent_features_share_nothing_even_with_more_channels_than_rows() -> None:
    random = np.random.default_rng(2)
    a, b = random.normal(size=(60, 400)), random.normal(size=(60, 400))
    assert abs(diagnostics.alignment(a, b)) < 0.02
    assert abs(diagnostics.cka(a, b)) < 0.05


def test_a_common_offset_is_no_alignment() -> None:
    random = np.random.default_rng(3)
    a, b = random.normal(size=(200, 8)) + 50, random.normal(size=(200, 8)) + 50
    assert abs(diagnostics.alignment(a, b)) < 0.05


def test_alignment_equals_the_slow_sum() -> None:
    random = np.random.default_rng(4)
    a, b = random.normal(size=(30, 5)), random.normal(size=(30, 5))
    cosine = diagnostics.unit(a) @ diagnostics.unit(b).T
    off = cosine[~np.eye(30, dtype=bool)]
    assert diagnostics.alignment(a, b) == pytest.approx(np.diag(cosine).mean() - off.mean())


def test_collapsed_features_have_cosine_one_and_rank_nothing() -> None:
    collapsed = np.tile(np.arange(1.0, 9.0), (50, 1))
    assert diagnostics.mean_pairwise_cosine(collapsed) == pytest.approx(1.0)
    assert diagnostics.effective_rank(collapsed) == 0.0
    assert diagnostics.uniformity(collapsed) == pytest.approx(0.0)


def test_effective_rank_counts_equal_directions() -> None:
    assert diagnostics.effective_rank(np.vstack([np.eye(6), -np.eye(6)])) == pytest.approx(6.0)
    line = np.outer(np.linspace(-1, 1, 40), np.ones(6))
    assert diagnostics.effective_rank(line) == pytest.approx(1.0)


def test_orthogonal_rows_have_cosine_zero() -> None:
    assert diagnostics.mean_pairwise_cosine(np.eye(7)) == pytest.approx(0.0)
    assert diagnostics.uniformity(np.eye(7)) == pytest.approx(-4.0)
