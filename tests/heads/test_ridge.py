from __future__ import annotations

import numpy as np
import pytest
from scipy import linalg, stats
from threadpoolctl import threadpool_info, threadpool_limits

from keybed.heads import moments
from keybed.heads.errors import BadInput
from keybed.heads.ridge import RidgeProbe, frame_block

PENALTIES = (1e-3, 1e-1, 10.0)
K, WIDTH = 8, 6


def data(n=300, seed=0, offset=50.0):
    """State 1's mean knows dimensions 0–3, state 2's sd knows 4–6; 7 is constant."""
    rng = np.random.default_rng(seed)
    layers = (offset + rng.normal(size=(n, 2, 3, WIDTH))).astype(np.float32)
    score = 75 + rng.normal(size=(n, K))
    score[:, :4] += 3 * layers[:, 0, 1, :4] - 3 * offset
    score[:, 4:7] += 3 * layers[:, 1, 2, :3] - 3 * offset
    score[:, 7] = 97.5
    valid = rng.random((n, K)) > 0.2
    valid[:, 1] = valid[:, 0]  # two dimensions that share a condition
    valid[:, 5:] = True
    return layers, np.where(valid, score, np.nan), valid, rng.uniform(0.5, 2, n), np.repeat(np.arange(n // 20), 20)


LAYERS, SCORE, VALID, WEIGHT, PIECE = data()
TRAIN = np.arange(300) < 200


def layer_blocks(path, layers):
    """One block per state: `path[state]` -> (row, stat, width)."""
    return {f"{path}[{state}]": layers[:, :, state] for state in range(layers.shape[2])}


def solved(batch=64, **kwargs):
    probe = RidgeProbe(PENALTIES)
    part = np.where(TRAIN, "train", "validation")
    for start in range(0, 300, batch):
        at = slice(start, start + batch)
        probe.add(part[at], layer_blocks("mert", LAYERS[at]), SCORE[at], VALID[at], WEIGHT[at], **kwargs)
    return probe.solve([(["train"], ["validation"])])


def plain_ridge(x, y, w, penalty):
    """Weighted, standardised, by the normal equations of one dimension's own rows."""
    mean, y_mean = np.average(x, axis=0, weights=w), np.average(y, weights=w)
    sd = np.sqrt(np.average((x - mean) ** 2, axis=0, weights=w))
    z = (x - mean) / sd
    slope = np.linalg.solve(
        (z * w[:, None]).T @ z / w.sum() + penalty * np.eye(x.shape[1]), z.T @ (w * (y - y_mean)) / w.sum()
    )
    return lambda new: (new - mean) / sd @ slope + y_mean


@pytest.mark.parametrize(("statistic", "pick"), [("mean", [0]), ("sd", [1]), ("both", [0, 1])])
def test_every_cell_is_the_plain_ridge_on_its_own_rows(statistic, pick):
    result = solved()
    for state in range(3):
        x = LAYERS[:, pick, state].reshape(300, -1).astype(np.float64)
        table = result.r[f"mert[{state}]", statistic]
        for k in range(7):
            rows, validation = TRAIN & VALID[:, k], ~TRAIN & VALID[:, k]
            for i, penalty in enumerate(PENALTIES):
                line = plain_ridge(x[rows], SCORE[rows, k], WEIGHT[rows], penalty)
                p, s, w = line(x[validation]), SCORE[validation, k], WEIGHT[validation]
                p, s = p - np.average(p, weights=w), s - np.average(s, weights=w)
                expected = (w * p * s).sum() / np.sqrt((w * p * p).sum() * (w * s * s).sum())
                assert table[i, k] == pytest.approx(expected, abs=2e-4)


def test_it_finds_the_layer_and_predicts():
    result = solved()
    assert {(result.best(k).block, result.best(k).statistic) for k in range(4)} <= {
        ("mert[1]", "mean"),
        ("mert[1]", "both"),
    }
    assert result.best(5).block == "mert[2]"
    assert result.best(7).r is None  # constant labels: said so
    names, rows = result.heat_map("mean")
    assert names == ["mert[0]", "mert[1]", "mert[2]"]
    assert [row[7] for row in rows] == [None] * 3
    assert rows[1][0] > 0.9 > 0.4 > abs(rows[0][0])
    fresh, score, valid, _, _ = data(seed=5)
    prediction = result.predict(layer_blocks("mert", fresh))
    assert prediction.dtype == np.float32
    for k in range(7):
        assert stats.pearsonr(prediction[valid[:, k], k], score[valid[:, k], k])[0] > 0.9
    np.testing.assert_allclose(prediction[:, 7], 97.5, rtol=1e-6)
    assert result.best(0, ["mert[0]"]).block == "mert[0]"


def test_fewer_rows_than_columns_are_solved_too():
    """Sums of float32 products leave so few rows' correlation below zero; columns that hardly move are left out."""
    rng = np.random.default_rng(2)
    train = np.arange(12) < 4
    x = rng.normal(size=(12, 2, 107))
    x[:, 0, :3] = np.where(train[:, None], 5 + 1e-4 * rng.normal(size=(12, 3)), -5)
    x = x.astype(np.float32)
    score = np.repeat((80 + 5 * x[:, 0, 3] + rng.normal(size=12))[:, None], K, axis=1)
    probe = RidgeProbe()
    probe.add(np.where(train, "train", "validation"), {"frames": x}, score, np.ones((12, K), bool))
    result = probe.solve([(["train"], ["validation"])])
    moving = x.reshape(12, -1)[:, 3:].astype(np.float64)
    for i, penalty in list(enumerate(result.penalties))[2:]:  # the smallest two are near the rounding itself
        line = plain_ridge(moving[train], score[train, 0], np.ones(4), penalty)
        expected = np.corrcoef(line(moving[~train]), score[~train, 0])[0, 1]
        assert result.r["frames", "both"][i, 0] == pytest.approx(expected, abs=5e-3)
    assert np.isfinite(result.predict({"frames": x})).all()


def test_batches_do_not_matter():
    a, b = solved(300), solved(7)
    for key in a.r:
        np.testing.assert_allclose(a.r[key], b.r[key], atol=1e-4)


def test_piece_grouped_folds():
    parts = np.array([f"part-{piece % 5}" for piece in PIECE])
    probe = RidgeProbe(PENALTIES)
    probe.add(parts, layer_blocks("mert", LAYERS), SCORE, VALID)
    names = sorted(set(parts))
    folds = [([p for p in names if p != out], [out]) for out in names]
    result = probe.solve(folds)
    assert result.best(2).block == "mert[1]"
    per_fold = [probe.solve([fold]).r["mert[1]", "mean"][:, :7] for fold in folds]
    np.testing.assert_allclose(result.r["mert[1]", "mean"][:, :7], np.mean(per_fold, axis=0), rtol=1e-9)


def test_frames_become_mean_and_sd_over_valid_bins():
    frames = np.array([[[1.0], [3.0], [99.0]], [[7.0], [7.0], [7.0]]])
    block = frame_block("f", frames, np.array([[True, True, False], [False, False, False]]))["f"]
    np.testing.assert_allclose(block[:, :, 0], [[2, 1], [0, 0]])


def test_bad_input():
    probe = RidgeProbe(PENALTIES)
    with pytest.raises(BadInput, match="no rows were added"):
        probe.solve([(["train"], ["validation"])])
    probe.add("train", layer_blocks("mert", LAYERS), SCORE, VALID)
    with pytest.raises(BadInput, match="no rows of part validation; there are train"):
        probe.solve([(["train"], ["validation"])])
    broken = LAYERS.copy()
    broken[3] = np.nan
    with pytest.raises(BadInput, match=r"mert\[0\]: row 3 of this batch is not finite"):
        probe.add("train", layer_blocks("mert", broken), SCORE, VALID)


def threads() -> set[int]:
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


def test_the_probe_computes_on_one_thread_and_leaves_the_others_setting(monkeypatch) -> None:
    seen = []

    def watched(*given, **options):
        seen.append(threads())
        return linalg.cho_factor(*given, **options)

    monkeypatch.setattr(moments, "cho_factor", watched)
    with threadpool_limits(2, user_api="blas"):
        solved()
        assert threads() == {2}
    assert len(seen) > 3
    assert set.union(*seen) == {1}
