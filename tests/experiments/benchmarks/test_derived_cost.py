"""The price list of derived views, on a store whose signals are known."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from keybed import store as stores
from keybed.experiments.benchmarks.derived_cost import Config, NothingDerived, costs, table, views_of
from keybed.store.derive.derive import DeriveConfig, derive


def test_int8_costs_next_to_nothing_and_too_few_components_cost_much(
    make_store: Callable[..., Path], tmp_path: Path
) -> None:
    path = tmp_path / "store"
    shutil.copytree(make_store(12, 8), path)
    with pytest.raises(NothingDerived, match="keybed derive"):
        costs(Config(path))
    for components in (1, 10):
        derive(DeriveConfig(path, pca=components, threads=1))
    opened = stores.open(path)
    assert set(views_of(opened, opened.recipe.encoder("test-audio"))) == {"frames", "int8", "pca1", "pca10"}
    cost = {(c.encoder, c.view): c for c in costs(Config(path))}
    assert len(cost) == 8
    for encoder in ("test-audio", "test-midi"):
        raw, int8, one, ten = (cost[encoder, view] for view in ("frames", "int8", "pca1", "pca10"))
        assert raw.r > 0.3
        assert abs(raw.r - int8.r) < 0.02
        assert abs(raw.r - ten.r) < 0.02, "ten components of ten channels lose nothing but float16"
        assert one.r < raw.r - 0.1
        assert int8.bytes_per_row < 0.75 * raw.bytes_per_row
        assert one.bytes_per_row < raw.bytes_per_row
    assert table(list(cost.values())).row_count == 8
    assert len(costs(Config(path, rows=200))) == 8
