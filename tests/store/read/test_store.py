"""Create, fill, open, read: the same numbers come back."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from keybed import store
from keybed.store import errors
from keybed.store.format.vocabulary import Status


def stored(synthetic, path):
    values = synthetic.arrays(0, synthetic.n_rows)[path]
    return values.astype(np.float16) if path.split("/")[0] != "row" and values.dtype != bool else values


def test_every_array_comes_back_in_any_order(whole_store, synthetic):
    index = np.random.default_rng(3).permutation(synthetic.n_rows)[:97]
    index = np.concatenate([index, index[:5]])
    for spec in whole_store.specs:
        if spec.writer == "task":
            np.testing.assert_array_equal(whole_store.read(spec.path, index), stored(synthetic, spec.path)[index])
    np.testing.assert_array_equal(whole_store.read("row/start_s", index), synthetic.planned["start_s"][index])


def test_a_feature_can_be_cut_along_named_axes(whole_store, synthetic):
    layers = stored(synthetic, "audio/a/layers")
    index = np.array([40, 3, 149])
    np.testing.assert_array_equal(whole_store.read("audio/a/layers[state=1]", index), layers[index, :, 1])
    np.testing.assert_array_equal(whole_store.read("audio/a/layers[state=0:1,stat=1]", index), layers[index, 1, 0:1])
    with pytest.raises(ValueError, match="has no axis layer; it has stat, state, channel"):
        whole_store.read("audio/a/layers[layer=1]", index)
    with pytest.raises(ValueError, match=r"state=9:10 is outside 0:2"):
        whole_store.read("audio/a/layers[state=9]", index)
    with pytest.raises(errors.NoSuchFeature, match=r"audio/b.*it has audio/a/layers, audio/a/frames, midi/m/layers"):
        whole_store.read("audio/b", index)


def test_rows_are_selected_by_split_tier_status_and_segment(whole_store, synthetic):
    everything = whole_store.rows(status=None)
    assert len(everything) == synthetic.n_rows
    assert len(whole_store.rows()) == synthetic.n_rows - 2
    np.testing.assert_array_equal(everything.index[everything.status == Status.SILENT_AUDIO], [5, 70])
    validation = whole_store.rows("validation", tiers=["pristine", "poor"])
    start, stop = synthetic.split_ranges["validation"]
    np.testing.assert_array_equal(validation.index, [r for r in range(start, stop) if r % 4 in (0, 3)])
    np.testing.assert_array_equal(whole_store.rows(segments=[1, 30]).index, [4, 6, 7, 120, 121, 122, 123])
    np.testing.assert_array_equal(everything.score, stored(synthetic, "row/score"))
    np.testing.assert_allclose(everything.level_drawn, synthetic.planned["level_drawn"].astype(np.float32))
    with pytest.raises(ValueError, match="split dev: there are train, validation, test"):
        whole_store.rows("dev")


def test_take_wants_a_mask_of_the_right_length_or_positions(whole_store):
    rows = whole_store.rows()
    np.testing.assert_array_equal(rows.take([7, 0, 7]).index, rows.index[[7, 0, 7]])
    np.testing.assert_array_equal(rows.take(rows.tier == 2).tier, 2)
    assert len(rows.take([])) == 0
    with pytest.raises(ValueError, match="a mask of 3 for"):
        rows.take(np.ones(3, bool))


def test_uncommitted_rows_are_refused_unless_asked_for(tmp_path, synthetic):
    opened = synthetic.fill(synthetic.create(tmp_path / "S"), [0, 3])
    with pytest.raises(errors.Incomplete, match=r"3 of 5 shards.*--shards 1-2,4"):
        opened.rows()
    with pytest.raises(errors.Incomplete, match="shard 1 of"):
        opened.read("row/score", [40])
    committed_rows = opened.rows(status=None, allow_missing=True)
    np.testing.assert_array_equal(committed_rows.index, [*range(32), *range(96, 128)])
    assert opened.committed == {0, 3}
    synthetic.fill(opened, [1, 2, 4])
    assert len(opened.rows()) == synthetic.n_rows - 2  # the same open store sees new commits


def test_the_same_recipe_is_a_no_op_and_another_names_every_difference(tmp_path, synthetic, snapshot):
    opened = synthetic.fill(synthetic.create(tmp_path / "S"), [0])
    before = snapshot(opened.path)
    synthetic.create(tmp_path / "S")
    assert snapshot(opened.path) == before
    other = dataclasses.replace(synthetic, seed=4, shard_rows=64)
    with pytest.raises(errors.RecipeMismatch) as caught:
        other.create(tmp_path / "S")
    assert "degradation.seed: 0 | 4" in str(caught.value)
    assert "shard_rows: 32 | 64" in str(caught.value)
    assert snapshot(opened.path) == before


def test_a_recipe_with_other_encoders_is_compared_by_name(tmp_path, synthetic):
    opened = synthetic.create(tmp_path / "S")
    wider = dataclasses.replace(synthetic.encoders[0], width=16)
    other = dataclasses.replace(synthetic, encoders=(wider,))
    with pytest.raises(errors.RecipeMismatch) as caught:
        store.create(opened.path, other.recipe, synthetic.planned, synthetic.split_ranges, synthetic.recordings, {})
    message = str(caught.value)
    assert "encoders.a.width: 8 | 16\n" in message
    assert "encoders.m: (present) | (absent)\n" in message
    assert len(message.splitlines()) == 4


def test_a_plan_that_does_not_fit_its_recipe_is_refused(tmp_path, synthetic):
    def create(**changes):
        arguments = {
            "recipe": synthetic.recipe,
            "planned": synthetic.planned,
            "split_ranges": synthetic.split_ranges,
            "recordings": synthetic.recordings,
            "machine_paths": {},
        }
        store.create(tmp_path / "S", **{**arguments, **changes})

    with pytest.raises(errors.PlanRefused, match="row/tier has shape"):
        create(planned={**synthetic.planned, "tier": np.zeros(3)})
    with pytest.raises(errors.PlanRefused, match=r"missing \['piece'\], unknown \['peace'\]"):
        create(planned={("peace" if k == "piece" else k): v for k, v in synthetic.planned.items()})
    with pytest.raises(errors.PlanRefused, match="must start at 100"):
        create(split_ranges={"train": (0, 100), "validation": (101, 120), "test": (120, 150)})
    with pytest.raises(errors.PlanRefused, match="does not fit into uint8"):
        create(planned={**synthetic.planned, "tier": np.full(synthetic.n_rows, 1.5)})
    assert list(tmp_path.iterdir()) == []


def test_opening_refuses_an_incomplete_store(tmp_path, synthetic):
    with pytest.raises(errors.NotAStore, match="no store"):
        store.open(tmp_path / "nothing")
    (tmp_path / "other" / "features.zarr").mkdir(parents=True)
    with pytest.raises(errors.NotAStore, match="copied half-way"):
        store.open(tmp_path / "other")
    with pytest.raises(errors.NotAStore):
        synthetic.create(tmp_path / "other")


def test_a_newer_format_is_refused_by_name(tmp_path, synthetic):
    opened = synthetic.create(tmp_path / "S")
    recipe = json.loads((opened.path / "recipe.json").read_text())
    recipe["recipe"]["format_version"] = 2
    recipe["recipe"]["a_field_of_tomorrow"] = True
    (opened.path / "recipe.json").write_text(json.dumps(recipe))
    with pytest.raises(errors.NewerFormat, match="format 2, this Keybed reads up to 1: update Keybed"):
        store.open(opened.path)


def test_an_edited_recipe_is_noticed(tmp_path, synthetic):
    opened = synthetic.create(tmp_path / "S")
    text = (opened.path / "recipe.json").read_text()
    (opened.path / "recipe.json").write_text(text.replace('"hop_s": 6.2', '"hop_s": 5.0'))
    with pytest.raises(errors.NotAStore, match="one was edited"):
        store.open(opened.path)


def test_equal_recipes_make_equal_bytes(tmp_path, synthetic, snapshot):
    """In another order of shards, with other arrays in memory, and from float16 or float32."""
    one = synthetic.fill(synthetic.create(tmp_path / "one"))
    two = synthetic.fill(synthetic.create(tmp_path / "two"), [4, 2, 0, 1, 3])
    assert snapshot(one.path) == snapshot(two.path)


def test_the_plan_has_checksums_of_its_notes_too(tmp_path, synthetic):
    def notes(folder: Path) -> None:
        (folder / "00000.npz").write_bytes(b"notes")

    store.create(
        tmp_path / "S",
        synthetic.recipe,
        synthetic.planned,
        synthetic.split_ranges,
        synthetic.recordings,
        {},
        write_notes=notes,
    )
    opened = store.open(tmp_path / "S")
    assert opened.notes_path(0).read_bytes() == b"notes"
    objects = json.loads((opened.path / "commits" / "plan.json").read_text())["objects"]
    assert objects["notes/00000.npz"]["bytes"] == 5
    assert {"recipe.json", "recordings.json", "features.zarr/row/tier/c.0"} <= set(objects)
    assert opened.recordings == synthetic.recordings


def test_the_store_is_imported_without_zarr():
    script = (
        "import sys, keybed.store, keybed.store.format.vocabulary; "
        "assert not {'zarr', 'dask', 'numcodecs', 'zarrs'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_an_empty_store_of_all_of_maestro_is_made_in_seconds(tmp_path):
    """455,736 rows, four encoders; the goal is 10 s."""
    from keybed.experiments.benchmarks import placeholder_store

    begun = time.process_time()  # of this process, so that other jobs and slow disks do not count
    opened = placeholder_store.create(tmp_path / "S", placeholder_store.recipe(455_736, n_encoders=4))
    assert time.process_time() - begun < 10
    assert opened.shard_rows == 1024
    assert opened.columns(455_735, 455_736)["tier"][0] == 455_735 % 4
    assert sum(1 for _ in opened.path.rglob("*")) < 100
