"""A task reads the planned notes and columns, or stops: nothing is made from a file that took another's place."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from keybed import store as stores
from keybed.extract.config import ExtractConfig
from keybed.extract.music.midi import MidiError
from keybed.extract.run.task import extract
from keybed.store.check.verify import VerifyConfig, verify
from keybed.store.errors import KeybedError, ShardDamaged


@pytest.fixture
def store_path(planned_store: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(planned_store, tmp_path / "store"))


def exchange(one: Path, other: Path) -> None:
    a, b = one.read_bytes(), other.read_bytes()
    assert a != b
    one.write_bytes(b)
    other.write_bytes(a)


@pytest.mark.parametrize("workers", [0, 1])
def test_exchanged_notes_are_refused_and_nothing_is_committed_from_them(store_path: Path, workers: int) -> None:
    """Swapped, extracted and swapped back, they gave 20 wrong files that `verify` called sound."""
    notes = sorted((store_path / "notes").glob("*.npz"))[:2]
    exchange(*notes)
    with pytest.raises(MidiError, match=r"not the file that was planned.*copy it from a good copy"):
        extract(ExtractConfig(store_path, workers=workers))
    committed = stores.open(store_path).committed
    exchange(*notes)
    extract(ExtractConfig(store_path, workers=0))
    assert verify(VerifyConfig(store_path)).sound
    assert len(stores.open(store_path).committed) == 5 > len(committed)


def test_an_exchanged_column_is_refused(store_path: Path) -> None:
    exchange(store_path / "features.zarr/row/recording/c.0", store_path / "features.zarr/row/segment/c.0")
    with pytest.raises(ShardDamaged, match="is not what `keybed plan` wrote"):
        extract(ExtractConfig(store_path, workers=0))
    assert not stores.open(store_path).committed


def test_commits_record_what_the_shard_was_made_from(store_path: Path) -> None:
    extract(ExtractConfig(store_path, shards=(0, 3), workers=0))
    store = stores.open(store_path)
    inputs = {json.loads((store_path / f"commits/{shard:06d}.json").read_text())["inputs"] for shard in (0, 3)}
    assert inputs == {store.inputs(0), store.inputs(3)}


def test_a_damaged_places_file_is_named_and_the_way_out_works(store_path: Path) -> None:
    places = store_path / "places.json"
    paths = stores.open(store_path).machine_paths
    places.write_bytes(b"null")
    with pytest.raises(KeybedError, match=r"places\.json cannot be read.*--repair"):
        extract(ExtractConfig(store_path, workers=0))
    assert any("places.json" in name for name in verify(VerifyConfig(store_path, repair=True)).restorable)
    extract(ExtractConfig(store_path, workers=0, paths=paths))
    assert stores.open(store_path).committed == frozenset(range(5))
