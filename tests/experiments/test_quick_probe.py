from __future__ import annotations

from pathlib import Path

import pytest

from keybed.experiments.benchmarks.synthetic_store import SyntheticConfig, make
from keybed.experiments.quick_probe import probe
from keybed.store.errors import Incomplete, NoSuchFeature
from keybed.store.format.vocabulary import DIMENSIONS

SOURCE = Path(__file__).resolve().parents[2] / "experiments/quick_probe.py"


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory):
    return make(SyntheticConfig(tmp_path_factory.mktemp("synthetic") / "store", n_rows=1600, width=48, n_bins=4))


def test_the_script_is_short_and_finds_what_is_known(synthetic):
    """The store's best possible r from both modalities is 0.80; 1,284 training rows come near it."""
    assert len(SOURCE.read_text().splitlines()) <= 60
    r_by_model = probe(synthetic.path, epochs=6, seeds=(0,))
    assert list(r_by_model) == ["my head", "concat", "ridge"]
    for name, r in r_by_model.items():
        assert len(r) == len(DIMENSIONS)
        mean = sum(r) / len(r)
        assert 0.55 < mean < 0.86, (name, mean)


def test_bad_stores_are_refused(synthetic, tmp_path):
    config = SyntheticConfig(tmp_path / "part", n_rows=320, width=8, n_bins=2)
    made = make(config)
    (made.path / "commits").joinpath(sorted(p.name for p in (made.path / "commits").iterdir())[0]).unlink()
    with pytest.raises(Incomplete, match="1 of 10 shards not committed"):
        probe(made.path)
    from keybed.experiments.data.view import View

    with pytest.raises(NoSuchFeature, match="keybed derive"):
        View("synthetic-audio", "synthetic-midi", "pca128").paths(synthetic)
