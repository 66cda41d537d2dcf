from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from experiments.benchmarks.heads_jobs import Job, run_ours, run_torch
from experiments.benchmarks.synthetic_store import SyntheticConfig, make
from experiments.quick_probe import probe
from store.errors import Incomplete, NoSuchFeature
from store.schema import DIMENSIONS

SOURCE = Path(__file__).resolve().parents[2] / "experiments/quick_probe.py"


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory):
    return make(SyntheticConfig(tmp_path_factory.mktemp("synthetic") / "store", n_rows=1600, width=48, n_bins=4))


def test_the_script_is_short_and_finds_what_is_known(synthetic):
    """The store's best possible r from both modalities is 0.80; 1,284 training rows come near it."""
    assert len(SOURCE.read_text().splitlines()) <= 60
    found = probe(synthetic.path, epochs=6, seeds=(0,))
    assert list(found) == ["my head", "concat", "ridge"]
    for name, r in found.items():
        assert len(r) == len(DIMENSIONS)
        mean = sum(r) / len(r)
        assert 0.55 < mean < 0.86, (name, mean)


def test_heads_learn_from_the_pooled_view(synthetic, tmp_path):
    """One vector a row; 1,284 rows teach little, but both modalities must tell more than one."""
    from store.derive import DeriveConfig, derive

    shutil.copytree(synthetic.path, tmp_path / "store")
    derive(DeriveConfig(tmp_path / "store", pca=0, int8=False, threads=1))
    job = Job("ours", tmp_path / "store", "pooled", heads=("midi", "concat"), epochs=6, batch_rows=16)
    r = run_ours(job)["r"]
    assert 0.3 < r["midi"] < 0.56
    assert r["midi"] + 0.1 < r["concat"] < 0.84


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


def test_bad_stores_are_refused(synthetic, tmp_path):
    config = SyntheticConfig(tmp_path / "part", n_rows=320, width=8, n_bins=2)
    made = make(config)
    (made.path / "commits").joinpath(sorted(p.name for p in (made.path / "commits").iterdir())[0]).unlink()
    with pytest.raises(Incomplete, match="1 of 10 shards are not committed"):
        probe(made.path)
    from experiments.features import View

    with pytest.raises(NoSuchFeature, match="keybed derive"):
        View("synthetic-audio", "synthetic-midi", "pca128").paths(synthetic)
