"""A planned store: its columns and recipe, and planning it again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from keybed import store as stores
from keybed.extract.degrade import draw_levels
from keybed.extract.planning.plan import plan
from keybed.store.errors import RecipeMismatch
from keybed.store.format.vocabulary import SPLITS, Status
from tests.extract.planning.small_plans import config_for, midi_names, rewritten


def test_the_planned_columns(planned_store: Path) -> None:
    store = stores.open(planned_store)
    columns = store.columns(0, store.n_rows)
    assert (store.n_rows, store.n_shards) == (40, 5)
    # Of 10, 4 and 5 windows, ten in proportion are 5.3, 2.1 and 2.6.
    assert store.splits == {"train": (0, 20), "validation": (20, 28), "test": (28, 40)}
    assert np.array_equal(columns["tier"], np.tile(np.arange(4), 10))
    recordings = store.recordings
    for row in range(store.n_rows):
        entry = recordings[columns["recording"][row]]
        assert entry["piece"] == columns["piece"][row]
        assert SPLITS.index(entry["split"]) == columns["split"][row]
        assert store.notes_path(int(columns["recording"][row])).is_file()
        expected = draw_levels(
            0, int(columns["recording"][row]), float(columns["start_s"][row]), int(columns["tier"][row]), "mixed"
        )
        np.testing.assert_array_equal(columns["level_drawn"][row], expected)


def test_the_recipe_names_no_place(planned_store: Path, tiny_corpus: Path) -> None:
    store = stores.open(planned_store)
    text = json.dumps(store.recipe.to_json())
    assert str(tiny_corpus) not in text
    assert "/" not in str(store.recipe.audio["soundfont"])
    assert store.machine_paths["maestro"] == str(tiny_corpus)
    assert Path(store.machine_paths["soundfont"]).is_file()


def test_planning_again_changes_nothing_and_otherwise_is_refused(tiny_corpus: Path, tmp_path: Path) -> None:
    plan(config_for(tiny_corpus, tmp_path / "store"))
    before = {p: p.read_bytes() for p in sorted((tmp_path / "store").rglob("*")) if p.is_file()}
    plan(config_for(tiny_corpus, tmp_path / "store"))
    assert before == {p: p.read_bytes() for p in sorted((tmp_path / "store").rglob("*")) if p.is_file()}
    with pytest.raises(RecipeMismatch, match=r"degradation\.seed"):
        plan(config_for(tiny_corpus, tmp_path / "store", seed=1))
    with pytest.raises(RecipeMismatch, match=r"segments\.limit"):
        plan(config_for(tiny_corpus, tmp_path / "store", limit=9))


def test_a_changed_midi_file_is_another_recipe(tiny_corpus: Path, tmp_path: Path) -> None:
    corpus = rewritten(tiny_corpus, tmp_path / "corpus", {})
    plan(config_for(corpus, tmp_path / "store"))
    midi = corpus / midi_names(corpus)[0]
    midi.write_bytes(midi.read_bytes().replace(b"\x90", b"\x91"))
    with pytest.raises(RecipeMismatch, match="midi_sha256"):
        plan(config_for(corpus, tmp_path / "store"))


def test_one_and_several_processes_plan_the_same(tiny_corpus: Path, tmp_path: Path) -> None:
    # 8 recordings are the least that are worth a pool.
    from keybed.extract.demo.corpus import write_demo_corpus

    corpus = write_demo_corpus(tmp_path / "corpus", n_pieces=4, n_players=2, seconds=24)
    for jobs in (1, 2):
        plan(config_for(corpus, tmp_path / f"store{jobs}", limit=None, jobs=jobs))
    one, two = (
        {
            p.relative_to(tmp_path / f"store{n}"): p.read_bytes()
            for p in (tmp_path / f"store{n}").rglob("*")
            if p.is_file()
        }
        for n in (1, 2)
    )
    assert one == two


def test_an_empty_store_knows_nothing_yet(planned_store: Path) -> None:
    store = stores.open(planned_store)
    assert store.committed == frozenset()
    assert Status.NOT_MADE == 255
