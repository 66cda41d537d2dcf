"""Others can read it: the same numbers through every Zarr v3 implementation at hand."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent
FEATURES = ("audio/a/layers", "audio/a/frames", "midi/m/mask", "row/score", "row/status", "row/tier")


@pytest.fixture(params=FEATURES)
def feature(request):
    return request.param


@pytest.fixture
def expected(whole_store, feature):
    return whole_store.read(feature, np.arange(whole_store.n_rows))


@pytest.fixture
def group(whole_store):
    return whole_store.path / "features.zarr"


def test_zarr_python(group, feature, expected):
    import zarr

    array = zarr.open_group(group, mode="r")[feature]
    np.testing.assert_array_equal(array[...], expected)
    assert array.metadata.dimension_names[0] == "row"
    assert array.metadata.chunk_key_encoding.separator == "."


def test_zarrs(group, feature, expected):
    import zarr
    import zarrs  # noqa: F401

    with zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline", "codec_pipeline.strict": True}):
        array = zarr.open_group(group, mode="r")[feature]
    np.testing.assert_array_equal(array[...], expected)


def test_tensorstore(group, feature, expected):
    import tensorstore

    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(group / feature)}}
    array = tensorstore.open(spec, read=True).result()
    np.testing.assert_array_equal(array.read().result(), expected)
    assert array.domain.labels[0] == "row"


def test_xarray(group, feature, expected):
    import xarray

    path, name = feature.rsplit("/", 1)
    chunks = {} if path == "row" else {"row": 32}
    with xarray.open_zarr(group, group=path, consolidated=False, chunks=chunks) as dataset:
        np.testing.assert_array_equal(dataset[name].values, expected)
        assert dataset[name].dims[0] == "row"


def test_the_group_says_what_its_numbers_mean(group, synthetic):
    import zarr

    about = zarr.open_group(group, mode="r").attrs["keybed"]
    assert about["fingerprint"] == synthetic.recipe.fingerprint
    assert about["legend"]["status"]["SILENT_AUDIO"] == 2
    assert about["splits"] == {"train": [0, 100], "validation": [100, 125], "test": [125, 150]}
    assert zarr.open_group(group, mode="r")["row/score"].attrs["dimension"][0] == "note_accuracy"
    metadata = json.loads((group / "zarr.json").read_text())
    assert "consolidated_metadata" not in metadata


@pytest.fixture(scope="session")
def node(tmp_path_factory):
    """A folder with zarrita and a Node that has Float16Array, both from npm."""
    folder = tmp_path_factory.mktemp("node")
    if shutil.which("npx") is None:
        pytest.skip("npx is not installed")
    shutil.copy(HERE / "read_with_zarrita.mjs", folder)
    (folder / "package.json").write_text('{"type": "module", "private": true}')
    commands = (
        ["npm", "install", "--no-audit", "--no-fund", "--silent", "zarrita@0.7", "@zarrita/storage@0.2"],
        ["npx", "--yes", "node@24", "--version"],
    )
    for command in commands:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600, check=False)
        if done.returncode:
            message = f"npm is out of reach: {' '.join(command)}: {done.stderr.strip()[-200:]}"
            if os.environ.get("CI") == "true":
                pytest.fail(message)
            pytest.skip(message)
    return folder


@pytest.mark.parametrize("feature", ["audio/a/frames", "midi/m/mask"], indirect=True)
def test_zarrita_in_javascript(node, group, feature, expected):
    command = ["npx", "--yes", "node@24", "read_with_zarrita.mjs", str(group), feature, "30", "70"]
    done = subprocess.run(command, cwd=node, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["shape"] == [40, *expected.shape[1:]]
    values = np.array([np.nan if value is None else value for value in found["values"]])
    np.testing.assert_array_equal(values, expected[30:70].astype(np.float64).ravel())
