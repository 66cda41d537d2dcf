"""A corpus of four pieces and a store planned from it, cheap enough for every test here."""

from __future__ import annotations

from pathlib import Path

import pytest

from keybed.extract.config import PlanConfig
from keybed.extract.demo.corpus import write_demo_corpus
from keybed.extract.planning.plan import plan

PLACEHOLDERS = ("placeholder-audio", "placeholder-midi")


@pytest.fixture(scope="session")
def tiny_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_demo_corpus(tmp_path_factory.mktemp("tiny_corpus"), n_pieces=4, n_players=1, seconds=40)


@pytest.fixture(scope="session")
def planned_store(tiny_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A planned store of 10 segments, 40 rows, 5 shards of 8; copy it before filling it."""
    store = tmp_path_factory.mktemp("planned") / "store"
    plan(PlanConfig(tiny_corpus, store, limit=10, encoders=PLACEHOLDERS, shard_rows=8, jobs=1))
    return store
