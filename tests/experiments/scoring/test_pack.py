"""A packed model: equal bytes, equal scores, and every change refused by the name of what was changed."""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import jax
import numpy as np
import pytest

from keybed.experiments.data.view import View
from keybed.experiments.scoring.pack import FORMAT_VERSION, LARGEST_BYTES, BadPack, packed, read_pack, write_pack
from keybed.experiments.scoring.score import score
from keybed.experiments.scoring.scorer import Scorer
from keybed.experiments.scoring.source import read_source
from keybed.experiments.scoring.windows import WindowEncoder
from keybed.extract import degrade, encoders
from keybed.extract.audio import render
from keybed.extract.audio.render import Renderer
from keybed.extract.encoders.expected.models import random_models
from keybed.extract.music.performance import Performance
from keybed.extract.run.check_recipe import NotAsPlanned
from keybed.heads import align
from keybed.heads.fit_config import FitConfig
from keybed.store.format.recipe import Recipe
from tests.experiments.scoring.conftest import features, untrained


@pytest.fixture(scope="module")
def file(model, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("packed") / "model.keybed"
    n_bytes = write_pack(path, model)
    assert n_bytes == path.stat().st_size < LARGEST_BYTES
    return path


def test_a_model_is_the_same_after_packing(file, model):
    again = read_pack(file)
    assert packed(again) == file.read_bytes() == packed(model)
    assert again.card == model.card
    assert again.recipe == model.recipe
    assert np.array_equal(again.calibration.factor_K, model.calibration.factor_K)


def test_what_recordings_are_compared_by_is_packed_where_there_is_any(file, model, tmp_path):
    again = read_pack(file).comparing
    assert again is not None
    assert np.array_equal(again.slope_DxK, model.comparing.slope_DxK)
    assert np.array_equal(again.half_width_K, model.comparing.half_width_K)
    write_pack(tmp_path / "without.keybed", replace(model, comparing=None))
    assert read_pack(tmp_path / "without.keybed").comparing is None


def test_a_packed_model_gives_the_same_scores(file, scorer, midi):
    assert score(midi, file) == score(midi, scorer)


def test_nothing_in_it_is_pickled_or_a_path_of_this_machine(file):
    with zipfile.ZipFile(file) as archive:
        for name in archive.namelist():
            data = archive.read(name)
            assert str(Path.home()).encode() not in data
            if name.endswith(".npz"):
                (file.parent / name).write_bytes(data)
                with np.load(file.parent / name, allow_pickle=False) as arrays:
                    assert all(arrays[key].dtype.kind in "fiub" for key in arrays.files)


def test_projections_are_packed_and_change_what_the_head_reads(model, recipe, midi, tmp_path):
    """Phase 4 on aligned features: the head reads the projections of the frames, as float16."""
    source = read_source(midi, None, recorded=False, transcribe=lambda path: Performance.empty())
    batch = features(recipe, source)
    config = align.AlignConfig(hidden=8, width=6, fit=FitConfig(epochs=1, batch_rows=16, seeds=(0,)))
    fresh = config.objective.init(jax.random.key(0), batch)[align.NAME]
    params = jax.tree.map(lambda a: np.asarray(a, np.float32)[None], fresh)
    projection = align.AlignResult(config, params, model.fit.normalisation, [], [0], "f")
    write_pack(tmp_path / "aligned.keybed", replace(model, projection=projection))
    (read,) = read_pack(tmp_path / "aligned.keybed").inputs([batch])
    (expected,) = align.aligned(projection, [batch])
    assert read.audio_BxTxC.shape == (batch.n_rows, 20, 6)
    assert read.midi_BxTxC.dtype == np.float16
    assert np.array_equal(read.audio_BxTxC, expected.audio_BxTxC.astype(np.float16))


def rewritten(file: Path, out: Path, change: dict[str, bytes | None]) -> Path:
    """A copy with other, fewer or more members."""
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(out, "w") as new:
        for name in (*old.namelist(), *(n for n in change if n not in old.namelist())):
            data = change.get(name, old.read(name) if name in old.namelist() else None)
            if data is not None:
                new.writestr(name, data)
    return out


def manifest(file: Path, **fields: object) -> bytes:
    with zipfile.ZipFile(file) as archive:
        return json.dumps({**json.loads(archive.read("manifest.json")), **fields}).encode()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"card.json": b"{}"}, "its member card.json was changed"),
        ({"heads.npz": None}, "its member heads.npz is missing"),
        ({"more.txt": b"x"}, "its member more.txt was added"),
        ({"manifest.json": b"[]"}, "holds no manifest.json that can be read"),
        ({"manifest.json": None}, "holds no manifest.json that can be read"),
    ],
)
def test_a_changed_pack_is_refused_by_name(file, tmp_path, change, message):
    with pytest.raises(BadPack, match=message):
        read_pack(rewritten(file, tmp_path / "x.keybed", change))


def test_another_format_version_is_refused(file, tmp_path):
    changed = manifest(file, format_version=FORMAT_VERSION + 1, keybed_version="9.1.0")
    other = rewritten(file, tmp_path / "x.keybed", {"manifest.json": changed})
    words = (
        f"was written by Keybed 9.1.0 in format {FORMAT_VERSION + 1}; this is Keybed {version('keybed')}, which reads formats 1 to "
        f"{FORMAT_VERSION}: update Keybed to 9.1.0, or pack the run again with this version"
    )
    with pytest.raises(BadPack, match=re.escape(words)):
        read_pack(other)


def test_a_pack_of_a_newer_version_is_refused(file, tmp_path):
    other = rewritten(file, tmp_path / "x.keybed", {"manifest.json": manifest(file, keybed_version="9.1.0")})
    words = f"was written by Keybed 9.1.0; this is Keybed {version('keybed')}: update Keybed to 9.1.0"
    with pytest.raises(BadPack, match=re.escape(words)):
        read_pack(other)


def test_a_cut_or_absent_file_is_refused(file, tmp_path):
    cut = tmp_path / "cut.keybed"
    shutil.copy(file, cut)
    with cut.open("r+b") as raw:
        raw.truncate(file.stat().st_size // 2)
    with pytest.raises(BadPack, match="no packed model, or is damaged"):
        read_pack(cut)
    with pytest.raises(BadPack, match="no such file"):
        read_pack(tmp_path / "absent.keybed")


def test_fitted_models_are_packed_and_need_no_file_of_this_machine(midi, tmp_path):
    """`expected` was fitted by the sender; the receiver gets its models in the pack."""
    models = random_models(5)
    with (tmp_path / "expected.npz").open("wb") as opened:
        models.save(opened)
    place = str(tmp_path / "expected.npz")
    specs = [
        encoders.describe(name, weights=weights, n_bins=20, window_s=10.0)[0]
        for name, weights in (("logmel", None), ("expected", place))
    ]
    audio = {**render.describe(render.default_soundfont()), "source": "rendered"}
    recipe = Recipe(
        corpus={"midi_sha256": "0"},
        segments={"window_s": 10.0, "hop_s": 6.2},
        degradation={**degrade.parameters(), "profile": "mixed", "seed": 0},
        audio=audio,
        encoders=tuple(specs),
        n_rows=128,
        shard_rows=32,
    )
    view = View("logmel", "expected")
    source = read_source(midi, None, recorded=False, transcribe=lambda path: Performance.empty())
    built = [encoders.build_unchecked(specs[0]), encoders.build_unchecked(specs[1], Path(place))]
    maker = WindowEncoder(view, built, Renderer(render.default_soundfont()), 10.0, 0)
    (batch,) = (b.inputs for b in maker.batches(source, np.arange(0.0, 10.1, 2.0), 16))
    model = untrained(recipe, view, batch)
    with pytest.raises(NotAsPlanned, match=r"weights/expected lies; give --expected-weights PATH"):
        score(midi, Scorer(model))
    packed_file = tmp_path / "model.keybed"
    write_pack(packed_file, replace(model, fitted={"expected": Path(place).read_bytes()}))
    with_file = score(midi, Scorer(model, {"weights/expected": place}))
    (tmp_path / "expected.npz").unlink()
    assert score(midi, packed_file) == with_file
