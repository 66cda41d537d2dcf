"""What stores and rows say of themselves, how rows are indexed, and the same numbers in pandas and xarray."""

from __future__ import annotations

import builtins
import doctest
import importlib
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from keybed import store
from keybed.store.format.coded import Coded
from keybed.store.format.vocabulary import DIMENSIONS, LEVELS
from keybed.store.optional import NotInstalled


def without_commits(whole: store.Store, folder: Path, kept: tuple[int, ...]) -> store.Store:
    shutil.copytree(whole.path, folder)
    for shard in set(range(whole.n_shards)) - set(kept):
        (folder / "commits" / f"{shard:06d}.json").unlink()
    return store.open(folder)


@pytest.fixture(scope="module")
def half(whole_store, tmp_path_factory):
    """5 shards of 32 rows, of which 0 and 3 are committed."""
    return without_commits(whole_store, tmp_path_factory.mktemp("half") / "half <b>", (0, 3))


@pytest.fixture(scope="module")
def empty(whole_store, tmp_path_factory):
    return without_commits(whole_store, tmp_path_factory.mktemp("empty") / "empty", ())


def test_a_store_is_a_line(whole_store, half, empty):
    assert repr(whole_store) == f"<Store {whole_store.path}: 150 rows of 10 s, all made; audio/a, midi/m>"
    assert "150 rows of 10 s, 64 of them made" in repr(half)
    assert "0 of them made" in repr(empty)


def test_a_store_is_a_table_in_a_notebook(whole_store, half, empty):
    for opened in (whole_store, half, empty):
        page = opened._repr_html_()
        assert "<td><code>midi/m/mask</code></td><td>row 150 × bin 4</td><td>bool</td>" in page
        assert "train 100, validation 25, test 25" in page
    assert "half &lt;b&gt;" in half._repr_html_()


def test_random_weights_are_said(tmp_path, synthetic):
    random = tuple(replace(spec, source="random") for spec in synthetic.encoders[:1])
    opened = replace(synthetic, encoders=random).create(tmp_path / "S")
    assert "audio/a (random weights)" in repr(opened)
    assert "random weights: a" in opened._repr_html_()


def test_rows_are_a_line_and_a_table(whole_store, half, empty):
    assert repr(whole_store.rows("train", tiers=["poor"])) == (
        "<Rows: 25 rows of 25 segments and 3 pieces; poor 25; train 25>"
    )
    assert repr(half.rows(status=None, allow_missing=True)).endswith("; 1 without features>")
    assert repr(empty.rows(allow_missing=True)) == "<Rows: 0 rows of 0 segments and 0 pieces>"
    page = whole_store.rows()._repr_html_()
    assert page.count("<tr>") == 1 + 8
    assert "and 140 more" in page
    assert "<tr>" in empty.rows(allow_missing=True)._repr_html_()


def test_a_batch_is_a_line(whole_store):
    (batch,) = whole_store.batches(["audio/a/frames"], whole_store.rows()[:8], 8, seed=None)
    assert repr(batch) == "<Batch: 8 rows; audio/a/frames (8, 4, 2, 8) float16>"


def test_tiers_splits_and_statuses_compare_with_words(whole_store):
    rows = whole_store.rows(status=None)
    np.testing.assert_array_equal(rows.tier == "poor", np.arange(150) % 4 == 3)
    np.testing.assert_array_equal(rows.tier != "poor", np.arange(150) % 4 != 3)
    np.testing.assert_array_equal(rows.tier == 3, rows.tier == "poor")
    np.testing.assert_array_equal(rows.tier.isin("pristine", "good"), np.arange(150) % 4 < 2)
    assert (rows.split == "validation").sum() == 25
    assert rows.index[rows.status == "silent_audio"].tolist() == [5, 70]
    assert rows.tier[:5].words.tolist() == ["pristine", "good", "moderate", "poor", "pristine"]
    np.testing.assert_array_equal(rows.tier == rows.tier.words, True)
    with pytest.raises(ValueError, match="tier bad: there are pristine, good, moderate, poor"):
        rows.tier == "bad"  # noqa: B015
    assert type(rows.tier == 3) is type(rows.tier + 1) is np.ndarray
    again = pickle.loads(pickle.dumps(rows.tier))
    assert isinstance(again, Coded)
    np.testing.assert_array_equal(again == "poor", rows.tier == "poor")


def test_rows_are_indexed_as_arrays_are(whole_store):
    rows = whole_store.rows()
    poor = rows[rows.tier == "poor"]
    assert len(poor) == 37
    np.testing.assert_array_equal(poor.index, rows.take(rows.tier == 3).index)
    np.testing.assert_array_equal(rows[2:8:2].index, rows.index[2:8:2])
    np.testing.assert_array_equal(rows[[4, 2, 4]].index, rows.index[[4, 2, 4]])
    assert len(rows[[]]) == len(rows[:0]) == 0
    assert len(rows[np.zeros(len(rows), bool)]) == 0
    last = rows[-1]
    assert (last.index, last.tier, last.split, last.status) == (149, "good", "test", "ok")
    assert last.score["pedal_technique"] == pytest.approx(float(rows.score[-1, 3]))
    assert repr(last).startswith("<Row 149: good, test, ok; segment 37 of piece 2 from 229.4 s; ")
    assert [row.index for row in rows[:3]] == rows.index[:3].tolist()
    assert {row.tier for row in poor} == {"poor"}
    for wrong, error in ((148, IndexError), ("tier", TypeError), (np.ones((2, 2)), TypeError)):
        with pytest.raises(error):
            rows[wrong]
    with pytest.raises(ValueError, match="a mask of 3"):
        rows[np.ones(3, bool)]


def test_the_same_rows_in_pandas(whole_store, half, empty):
    for opened in (whole_store, half, empty):
        rows = opened.rows(status=None, allow_missing=True)
        table = rows.to_pandas()
        assert table.index.tolist() == rows.index.tolist()
        assert table.index.name == "row"
        np.testing.assert_array_equal(table["score_pedal_technique"], rows.score[:, 3])
        np.testing.assert_array_equal(table["level_tempo"], rows.level[:, LEVELS.index("tempo")])
        assert table["tier"].tolist() == rows.tier.words.tolist()
        assert len(table.columns) == 8 + 2 * 8 + 2 * 8 + 6 + 3 + 2
    table = whole_store.rows(status=None).to_pandas()
    assert (table["tier"] <= "good").sum() == 76
    assert table["status"].value_counts()["silent_audio"] == 2
    by_tier = table.groupby("tier", observed=True)["score_overall_interpretation"].mean()
    np.testing.assert_allclose(
        by_tier["poor"], whole_store.rows(status=None, tiers="poor").score[:, 7].mean(), rtol=1e-5
    )


def test_the_same_numbers_in_xarray(whole_store):
    tree = whole_store.to_xarray()
    every = np.arange(150)
    for spec in whole_store.specs:
        found = tree[spec.path]
        assert found.dims == spec.dims
        np.testing.assert_array_equal(found.values, whole_store.read(spec.path, every))
    layers = tree["audio/a/layers"]
    assert layers.chunks[0] == (32, 32, 32, 32, 22)
    np.testing.assert_array_equal(
        layers[3:100:7, :, 1].sel(stat="sd").values, whole_store.read("audio/a/layers[state=1]", every[3:100:7])[:, 1]
    )
    np.testing.assert_array_equal(layers[::-1].values[0], whole_store.read("audio/a/layers", [149])[0])
    np.testing.assert_array_equal(layers.isel(row=[140, 2]).values, whole_store.read("audio/a/layers", [140, 2]))
    assert layers[5:5].shape[0] == len(layers[5:5].values) == 0


def test_coordinates_and_flags_by_cf(whole_store):
    tree = whole_store.to_xarray()
    assert tree.attrs["Conventions"].startswith("CF-1.")
    frames = tree["audio/a/frames"]
    for name, meanings in (("tier", "pristine good moderate poor"), ("split", "train validation test")):
        assert frames[name].attrs["flag_meanings"] == meanings
        assert frames[name].attrs["flag_values"].dtype == frames[name].dtype == np.uint8
        assert frames[name].attrs["flag_values"].tolist() == list(range(len(meanings.split())))
    status = tree["row/status"]
    assert dict(zip(status.flag_meanings.split(), status.flag_values.tolist(), strict=True))["not_made"] == 255
    np.testing.assert_allclose(frames["time_s"], [1.25, 3.75, 6.25, 8.75])
    assert frames["time_s"].attrs["units"] == "s"
    score = tree["row/score"]
    assert score["dimension"].values.tolist() == list(DIMENSIONS)
    assert tree["row/level"]["axis"].values.tolist() == list(LEVELS)
    np.testing.assert_array_equal(
        score.sel(dimension="tone_quality")[score.tier == 3], whole_store.rows(status=None, tiers="poor").score[:, 4]
    )
    poor = frames[frames["tier"].values == 3]
    np.testing.assert_array_equal(poor.values, whole_store.read("audio/a/frames", np.arange(150)[3::4]))


def test_a_store_half_filled_in_xarray(half, empty):
    tree = half.to_xarray()
    made = np.r_[0:32, 96:128]
    frames = tree["midi/m/frames"].values
    np.testing.assert_array_equal(frames[made], half.read("midi/m/frames", made))
    assert np.isnan(np.delete(frames, made, axis=0)).all()
    assert not tree["midi/m/mask"].values[32:96].any()
    assert (np.delete(tree["row/status"].values, made) == 255).all()
    np.testing.assert_array_equal(tree["row/tier"], np.arange(150) % 4)
    assert np.isnan(empty.to_xarray()["audio/a/layers"].values).all()


def test_a_damaged_chunk_is_named_when_it_is_computed(filled):
    (path,) = (filled.path / "features.zarr/audio/a/frames").rglob("c*1.0.0.0")
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 3] ^= 0xFF
    path.write_bytes(raw)
    tree = store.open(filled.path).to_xarray()
    tree["audio/a/frames"][:32].values  # noqa: B018
    with pytest.raises(store.errors.ShardDamaged, match="audio/a/frames"):
        tree["audio/a/frames"].values  # noqa: B018


@pytest.mark.parametrize("library", ["pandas", "xarray"])
def test_an_absent_library_is_a_sentence(whole_store, monkeypatch, library):
    real = importlib.import_module

    def absent(name, *rest):
        if name == library:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *rest)

    monkeypatch.setattr("keybed.store.optional.import_module", absent)
    with pytest.raises(
        NotInstalled, match=rf"needs {library}, which is not installed: pip install {library}, or .*tables"
    ):
        whole_store.rows().to_pandas() if library == "pandas" else whole_store.to_xarray()


def test_the_example_of_open_runs(tmp_path, synthetic, monkeypatch):
    """`help(keybed.open)` on a store of 8 rows of which half are made."""
    audio = replace(synthetic.encoders[0], name="logmel")
    tiny = replace(synthetic, n_rows=8, shard_rows=4, failed=(), encoders=(audio, synthetic.encoders[1]))
    tiny.fill(tiny.create(tmp_path / "STORE"), [0])
    monkeypatch.chdir(tmp_path)
    monkeypatch.delattr(builtins, "_", raising=False)
    finder = doctest.DocTestFinder(recurse=False)
    (example,) = finder.find(store.open, "keybed.open", globs={})
    assert len(example.examples) >= 5
    failures = []
    runner = doctest.DocTestRunner(verbose=False)
    assert runner.run(example, out=failures.append).failed == 0, "".join(failures)
