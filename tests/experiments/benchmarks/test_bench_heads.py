"""What of the heads' benchmark can be known: its arithmetic, and that both sides learn what the synthetic store shows."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from keybed.experiments.benchmarks.bench_heads import at_full_size
from keybed.experiments.benchmarks.heads_jobs import Job, run_ours, run_torch
from keybed.experiments.benchmarks.synthetic_store import SyntheticConfig, make


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory):
    return make(SyntheticConfig(tmp_path_factory.mktemp("synthetic") / "store", n_rows=1600, width=48, n_bins=4))


def test_what_does_not_grow_is_counted_once():
    """Two seconds of start-up and three epochs of 10 + 1 s, of a sixteenth of the rows: 2 + 3 · 16 · 11."""
    measured = {"seconds": 35.0, "epoch_s": [12.0, 10.0, 10.0], "validation_s": [1.0, 1.0, 1.0]}
    assert at_full_size(measured, 1 / 16) == pytest.approx(2 + 3 * 16 * 11)
    assert at_full_size(measured, 1.0) == pytest.approx(35.0)


def test_heads_learn_from_the_pooled_view(synthetic, tmp_path):
    """One vector a row; 1,284 rows teach little, but both modalities must tell more than one."""
    from keybed.store.derive.derive import DeriveConfig, derive

    shutil.copytree(synthetic.path, tmp_path / "store")
    derive(DeriveConfig(tmp_path / "store", pca=0, int8=False, threads=1))
    job = Job("ours", tmp_path / "store", "pooled", heads=("midi", "concat"), epochs=6, batch_rows=16)
    r = run_ours(job)["r"]
    assert 0.3 < r["midi"] < 0.56
    assert r["midi"] + 0.1 < r["concat"] < 0.84


@pytest.mark.slow
def test_pytorchs_heads_learn_the_same(synthetic, tmp_path):
    """The alternative that `bench_heads` measures against, from the store and from files, without workers."""
    jobs = [Job("torch", synthetic.path, epochs=3, batch_rows=16, workers=0, pt=pt) for pt in (None, tmp_path / "pt")]
    run_torch(replace(jobs[1], what="write_pt"))
    assert len(list((tmp_path / "pt").glob("*.pt"))) == 1600
    from_store, from_files = (run_torch(job)["r"] for job in jobs)
    for r in (from_store, from_files):
        assert 0.45 < r["audio"] < 0.62
        assert 0.35 < r["midi"] < 0.56
        assert 0.6 < r["cross"] < 0.84
    assert abs(from_store["concat"] - from_files["concat"]) < 0.06
