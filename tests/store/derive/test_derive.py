"""Derived arrays, against plain NumPy on everything at once."""

from __future__ import annotations

import dataclasses
import os
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest

from keybed import store
from keybed.experiments.cli.derive_view import derive_lines
from keybed.experiments.cli.verify_view import verify_lines
from keybed.store import errors
from keybed.store.check.verify import VerifyConfig, verify
from keybed.store.derive.derive import DeriveConfig, derive
from keybed.store.derive.pca import principal_components

FEATURES = ("audio/a/frames", "audio/a/layers", "midi/m/frames", "midi/m/layers")


@pytest.fixture(scope="module")
def derived_store(tmp_path_factory, whole_store):
    path = tmp_path_factory.mktemp("derived") / "S"
    shutil.copytree(whole_store.path, path)
    report = derive(DeriveConfig(path, FEATURES, pca=5, threads=2))
    return store.open(path), report


def plain(synthetic, path, train_only=True):
    """All observations of one array in float64: OK rows, unmasked bins, training rows."""
    arrays = synthetic.arrays(0, synthetic.n_rows)
    stop = synthetic.split_ranges["train"][1] if train_only else synthetic.n_rows
    chosen = arrays["row/status"] == 0
    chosen[stop:] = False
    values = arrays[path].astype(np.float16).astype(np.float64)
    if path == "midi/m/frames":
        chosen = chosen[:, None] & arrays["midi/m/mask"]
    elif path.endswith("frames"):
        chosen = np.repeat(chosen[:, None], values.shape[1], axis=1)
    return values, chosen


@pytest.mark.parametrize("path", ["audio/a/layers", "audio/a/frames", "midi/m/layers", "midi/m/frames"])
def test_moments_are_those_of_the_training_split_without_masked_bins(derived_store, synthetic, path):
    opened, _ = derived_store
    values, chosen = plain(synthetic, path)
    _, encoder, kind = path.split("/")
    found = opened.moments(encoder, kind)
    np.testing.assert_allclose(found.mean, values[chosen].mean(axis=0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.std, values[chosen].std(axis=0), rtol=1e-5)


@pytest.mark.parametrize("encoder", ["audio/a", "midi/m"])
def test_components_are_those_of_a_full_decomposition(derived_store, synthetic, encoder):
    opened, report = derived_store
    values, chosen = plain(synthetic, f"{encoder}/frames")
    x = values[chosen].reshape(chosen.sum(), -1)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    variances, vectors = np.linalg.eigh(x.T @ x / len(x))
    variances, vectors = variances[::-1][:5], vectors[:, ::-1][:, :5].T
    name = f"derived/{encoder.split('/')[1]}/frames_pca5"
    np.testing.assert_allclose(opened.array(f"{name}_variance")[...], variances, rtol=1e-4)
    mine = opened.array(f"{name}_components")[...].reshape(5, -1)
    np.testing.assert_allclose(np.abs((mine * vectors).sum(axis=1)), 1, atol=1e-4)
    kept = report.variance_kept[name]
    assert kept == pytest.approx(variances.sum() / x.shape[1], rel=1e-4)

    index = np.arange(synthetic.n_rows)[::-1]
    projected = opened.read(name, index)[::-1].astype(np.float64)
    everything, chosen_all = plain(synthetic, f"{encoder}/frames", train_only=False)
    flat = (everything[chosen_all] - values[chosen].mean(axis=0)) / values[chosen].std(axis=0)
    expected = flat.reshape(len(flat), -1) @ mine.T
    np.testing.assert_allclose(projected[chosen_all], expected, rtol=2e-3, atol=5e-3)
    failed = np.isin(np.arange(synthetic.n_rows), synthetic.failed)
    assert np.isnan(projected[failed]).all()
    assert (projected[~failed][~chosen_all[~failed]] == 0).all()


@pytest.mark.parametrize("kind", ["frames", "layers"])
def test_int8_is_within_half_a_step(derived_store, synthetic, kind):
    opened, _ = derived_store
    name = f"derived/a/{kind}_int8"
    values, chosen = plain(synthetic, f"audio/a/{kind}")
    back = opened.from_int8(name, opened.read(name, np.arange(synthetic.n_rows)))
    scale = opened.array(f"{name}_scale")[...]
    np.testing.assert_allclose(scale, np.abs(values[chosen] - values[chosen].mean(axis=0)).max(axis=0) / 127, rtol=1e-3)
    assert (np.abs(back - values)[chosen] <= scale * 0.51).all()
    assert np.isnan(back[list(synthetic.failed)]).all()


@pytest.mark.parametrize("encoder", ["audio/a", "midi/m"])
def test_pooled_is_the_mean_of_the_chosen_states(derived_store, synthetic, encoder):
    opened, _ = derived_store
    name = f"derived/{encoder.split('/')[1]}/layers_pooled"
    chosen = list(opened.recipe.encoder(encoder.split("/")[1]).frame_states)
    assert len(chosen) == 2
    layers = synthetic.arrays(0, synthetic.n_rows)[f"{encoder}/layers"].astype(np.float16).astype(np.float64)
    failed = np.isin(np.arange(synthetic.n_rows), synthetic.failed)
    found = opened.read(name, np.arange(synthetic.n_rows))
    assert found.shape == (synthetic.n_rows, *layers.shape[1:2], layers.shape[3])
    np.testing.assert_allclose(found[~failed], layers[:, :, chosen].mean(axis=2)[~failed], rtol=1e-3)
    assert np.isnan(found[failed]).all()
    assert verify(VerifyConfig(opened.path)).sound


def test_by_default_frames_are_derived_and_layers_pooled(whole_store, tmp_path):
    shutil.copytree(whole_store.path, tmp_path / "S")
    everything = derive(DeriveConfig(tmp_path / "S", pca=5, threads=1)).made
    assert "derived/a/layers_pooled" in everything
    assert "derived/a/layers_int8" not in everything
    shutil.rmtree(tmp_path / "S/features.zarr/derived")
    without = derive(DeriveConfig(tmp_path / "S", pca=5, int8=False, pooled=False, threads=1)).made
    assert [path for path in without if "pooled" in path or "int8" in path] == []


def test_derived_arrays_are_features_like_any_other(derived_store):
    opened, _ = derived_store
    assert [path for path in opened.features if path.startswith("derived/")] == [
        "derived/a/frames_int8",
        "derived/a/frames_pca5",
        "derived/a/layers_int8",
        "derived/a/layers_pooled",
        "derived/m/frames_int8",
        "derived/m/frames_pca5",
        "derived/m/layers_int8",
        "derived/m/layers_pooled",
    ]
    rows = opened.rows("train")
    for batch in opened.batches(["derived/a/frames_pca5", "audio/a/frames"], rows, 16, seed=0):
        np.testing.assert_array_equal(
            batch.features["derived/a/frames_pca5"], opened.read("derived/a/frames_pca5", batch.rows.index)
        )


def test_fresh_arrays_are_kept_and_stale_ones_refused_and_made_again(derived_store, synthetic, tmp_path):
    opened, report = derived_store
    path = tmp_path / "S"
    shutil.copytree(opened.path, path)
    again = derive(DeriveConfig(path, FEATURES, pca=5, threads=2))
    assert again.made == ()
    assert sorted(again.kept) == sorted(report.made)
    assert again.variance_kept == report.variance_kept
    assert derive_lines(again)[0] == f"made 0 arrays, kept {len(report.made)} that were fresh"

    before = store.open(path).read("derived/a/frames_pca5", [0, 1])
    for shard in range(5):
        (path / f"commits/{shard:06d}.json").unlink()
    other = dataclasses.replace(synthetic, failed=(8, 70))
    changed = other.fill(store.open(path))
    with pytest.raises(errors.StaleDerived, match=r"audio/a/frames.*keybed derive"):
        changed.read("derived/a/frames_pca5", [0])
    report_now = verify(VerifyConfig(path))
    assert "derived/a/frames_pca5" in report_now.stale
    assert verify_lines(report_now)[-1] == f"afterwards: keybed derive {path}"
    remade = derive(DeriveConfig(path, FEATURES, pca=5, threads=2))
    assert sorted(remade.made) == sorted(report.made)
    assert not np.array_equal(store.open(path).read("derived/a/frames_pca5", [0, 1]), before)
    assert verify(VerifyConfig(path)).sound
    assert not list(path.glob(".derived*"))


@pytest.mark.parametrize("name", ["frames_int8/c.2.0.0.0", "frames_pca5/c.4.0.0", "frames_int8_scale/c.0.0"])
@pytest.mark.parametrize("fault", ["missing", "flipped"])
def test_a_damaged_derived_array_is_found_and_made_again(derived_store, snapshot, tmp_path, name, fault):
    path = tmp_path / "S"
    shutil.copytree(derived_store[0].path, path)
    before = snapshot(path)
    file = path / "features.zarr/derived/a" / name
    data = bytearray(file.read_bytes())
    data[len(data) // 3] ^= 8
    file.unlink()
    if fault == "flipped":
        file.write_bytes(data)
        array = f"derived/a/{file.parent.name}"
        if "scale" not in name:
            with pytest.raises(errors.ShardDamaged, match="--repair` removes it, `keybed derive"):
                store.open(path).read(array, np.arange(150))
        text = "\n".join(verify_lines(verify(VerifyConfig(path, repair=True))))
        assert f"{array}: it cannot be decoded" in text
        assert "removed" in text
        assert text.endswith(f"afterwards: keybed derive {path}")
    else:
        report = verify(VerifyConfig(path))
        assert not report.sound
        assert report.damaged == {f"derived/a/{file.parent.name}": f"missing: 1 file, e.g. {file.name}"}
    made_again = derive(DeriveConfig(path, FEATURES, pca=5, threads=2)).made
    assert f"derived/a/{file.parent.name}" in made_again
    assert len(made_again) == 3, "only what belongs together"
    assert snapshot(path) == before
    assert verify(VerifyConfig(path)).sound


def test_a_dask_cluster_makes_the_same_arrays(derived_store, whole_store, tmp_path):
    from distributed import LocalCluster

    shutil.copytree(whole_store.path, tmp_path / "S")
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None) as cluster:
        derive(DeriveConfig(tmp_path / "S", FEATURES, pca=5, scheduler=cluster.scheduler_address))
    ours = derived_store[0].path / "features.zarr" / "derived"
    theirs = tmp_path / "S" / "features.zarr" / "derived"
    files = sorted(file.relative_to(ours) for file in ours.rglob("*") if file.is_file())
    assert len(files) > 20
    for file in files:
        assert (ours / file).read_bytes() == (theirs / file).read_bytes(), file


def test_an_unfinished_store_is_not_derived_from(tmp_path, synthetic):
    opened = synthetic.fill(synthetic.create(tmp_path / "S"), [0, 1])
    with pytest.raises(errors.Incomplete, match="shard 2"):
        derive(DeriveConfig(opened.path))


def test_an_array_that_nothing_can_be_derived_from_is_named(whole_store):
    with pytest.raises(errors.NoSuchFeature, match=r"from row/score; derive from audio/a/layers"):
        derive(DeriveConfig(whole_store.path, ("row/score",)))


def test_components_of_a_known_spectrum():
    """Closed form: a covariance with known eigenvectors and eigenvalues 1, 0.8, 0.64 …"""
    vectors, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(60, 60)))
    values = 0.8 ** np.arange(60)
    found = principal_components((vectors * values) @ vectors.T, 8)
    np.testing.assert_allclose(found.variances, values[:8], rtol=1e-9)
    np.testing.assert_allclose(np.abs(np.sum(found.vectors * vectors[:, :8].T, axis=1)), 1, rtol=1e-9)
    assert (np.take_along_axis(found.vectors, np.abs(found.vectors).argmax(axis=1)[:, None], axis=1) > 0).all()
    assert found.total_variance == pytest.approx(values.sum(), rel=1e-12)


def test_folders_of_a_killed_derive_are_swept(derived_store, tmp_path):
    """Of a process of this host that has ended, and of another host where nothing was written for ten minutes."""
    root = Path(shutil.copytree(derived_store[0].path, tmp_path / "S"))
    dead, elsewhere, busy = (
        root / f".derived.{host}.{pid}.0123abcd.creating"
        for host, pid in ((socket.gethostname(), 2**22 + 1), ("n.far", 7), ("n.near", 7))
    )
    for folder in (dead, elsewhere, busy):
        (folder / "derived/a").mkdir(parents=True)
        (folder / "derived/a/c.0").write_bytes(b"gigabytes")
    for path in (elsewhere, *elsewhere.rglob("*")):
        os.utime(path, (0, 0))
    assert set(verify(VerifyConfig(root)).leftovers) == {dead, elsewhere}
    assert set(verify(VerifyConfig(root, repair=True)).leftovers) == {dead, elsewhere}
    assert [path.name for path in root.glob(".derived*")] == [busy.name]


def test_two_derived_files_that_were_exchanged_are_refused(derived_store, tmp_path):
    root = Path(shutil.copytree(derived_store[0].path, tmp_path / "S"))
    one, other = sorted((root / "features.zarr/derived/a/frames_int8").glob("c.*"))[:2]
    data = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(data)
    with pytest.raises(errors.ShardDamaged, match="another file took its place"):
        store.open(root).read("derived/a/frames_int8", [0])
    assert list(verify(VerifyConfig(root)).damaged) == ["derived/a/frames_int8"]
