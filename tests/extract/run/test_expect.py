"""`keybed expect`, then a store whose rows are judged by models that have not met their piece."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from keybed import store as stores
from keybed.extract.config import ExpectConfig, ExtendConfig, ExtractConfig, PlanConfig
from keybed.extract.demo.corpus import write_demo_corpus
from keybed.extract.encoders.base import Clip, Music
from keybed.extract.encoders.errors import WeightsRefused
from keybed.extract.encoders.expected.encoder import surprise
from keybed.extract.encoders.expected.fit import NotEnoughPlaying
from keybed.extract.encoders.expected.models import load
from keybed.extract.encoders.expected.spec import CHANNELS
from keybed.extract.planning.plan import plan
from keybed.extract.run.check_recipe import NotAsPlanned, notes_config
from keybed.extract.run.expect import FileExists, drawn_windows, expect, groups_of
from keybed.extract.run.extend import extend
from keybed.extract.run.recompute import recomputer
from keybed.extract.run.row_maker import RowMaker, segment_jobs
from keybed.extract.run.task import extract
from keybed.store.errors import StoreError
from tests.extract.conftest import PLACEHOLDERS


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    corpus = write_demo_corpus(tmp_path_factory.mktemp("corpus"), n_pieces=8, n_players=1, seconds=60)
    store = tmp_path_factory.mktemp("expect") / "store"
    plan(PlanConfig(corpus, store, limit=24, encoders=PLACEHOLDERS, shard_rows=32, jobs=1))
    return store


@pytest.fixture(scope="module")
def models(planned: Path) -> Path:
    out = planned.parent / "models.npz"
    report = expect(ExpectConfig(planned, out, groups=2))
    text = "\n".join(report.lines())
    assert f"of {report.pieces} training pieces, in 2 groups" in text
    assert f"keybed extend {planned} --encoders expected --expected-weights {out}" in text
    return out


def test_windows_are_undegraded_training_rows_spread_over_the_pieces(planned: Path) -> None:
    store = stores.open(planned)
    start, stop = store.splits["train"]
    columns = store.columns(start, stop)
    every, piece = drawn_windows(store, 1_000, 0)
    assert every.tolist() == (start + np.flatnonzero(columns["tier"] == 0)).tolist()
    some, of_some = drawn_windows(store, np.unique(piece).size, 0)
    assert np.unique(of_some).size == some.size == np.unique(piece).size  # one each
    assert set(some.tolist()) <= set(every.tolist())


def test_groups_share_no_piece_and_are_even() -> None:
    piece = np.repeat([3, 5, 8, 9], [10, 6, 5, 1])
    names, group_of = groups_of(piece, 2)
    assert names == {3, 5, 8, 9}
    assert group_of[[3, 5, 8, 9]].tolist() == [0, 1, 1, 0]
    assert group_of[4] == -1
    with pytest.raises(NotEnoughPlaying, match=r"4 training pieces for 5 groups.*--groups"):
        groups_of(piece, 5)


def test_the_file_names_training_pieces_alone(planned: Path, models: Path) -> None:
    read = load(models)
    entries = stores.open(planned).recordings
    training = {e["piece_name"] for e in entries if e["split"] == "train" and e["used"]}
    assert set(read.group_of_piece) == training
    assert {read.group_of_midi[e["midi_sha256"]] for e in entries if e["midi_sha256"] in read.group_of_midi} == {0, 1}
    for entry in entries:
        if entry["split"] != "train":
            assert read.judging(Music(entry["midi_sha256"] or "", entry["piece_name"])) is read.of_all


def test_the_same_store_gives_the_same_bytes(planned: Path, models: Path, tmp_path: Path) -> None:
    expect(ExpectConfig(planned, tmp_path / "again.npz", groups=2))
    assert (tmp_path / "again.npz").read_bytes() == models.read_bytes()
    with pytest.raises(FileExists, match="another name"):
        expect(ExpectConfig(planned, models, groups=2))


def test_a_place_that_cannot_be_written_is_an_error_that_names_it(planned: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(StoreError, match=r"file/models\.npz"):
        expect(ExpectConfig(planned, tmp_path / "file" / "models.npz", groups=2))


def test_rows_are_judged_by_models_that_have_not_met_their_piece(planned: Path, models: Path, tmp_path: Path) -> None:
    path = tmp_path / "store"
    shutil.copytree(planned, path)
    extend(ExtendConfig(path, ("expected",), {"expected": str(models)}))
    extract(ExtractConfig(path, workers=2))
    store, read = stores.open(path), load(models)
    maker, n_met = RowMaker(notes_config(store)), 0
    channels = [store.recipe.encoder("expected").channels.index(name) for name in CHANNELS]
    frames = store.read("midi/expected/frames", np.arange(store.n_rows)).astype(np.float32)[..., channels]
    mask = store.read("midi/expected/mask", np.arange(store.n_rows))
    row = 0
    for job in segment_jobs(store.columns(0, store.n_rows)):
        entry = store.recordings[job.recording]
        group = read.group_of_midi.get(entry["midi_sha256"])
        model = read.of_all if group is None else read.of_others[group]
        assert (group is None) == (entry["split"] != "train")
        n_met += group is not None
        for variant in maker.variants(job):
            first, second = surprise(Clip(np.zeros(0, np.float32), variant.performance, 10.0), 20, model)
            wanted = np.where(mask[row][:, None, None], np.stack([first[:-1], second[:-1]], axis=1), 0)
            np.testing.assert_allclose(frames[row], wanted, rtol=2e-3, atol=2e-3)
            row += 1
    assert 0 < n_met < row // 4
    # `verify --recompute` makes the same rows.
    again = recomputer(store)(0, [0, 1])
    np.testing.assert_allclose(
        again["midi/expected/frames"].astype(np.float32)[..., channels], frames[:2], rtol=2e-3, atol=2e-3
    )


def test_another_file_in_its_place_is_refused(planned: Path, models: Path, tmp_path: Path) -> None:
    path, moved = tmp_path / "store", tmp_path / "models.npz"
    shutil.copytree(planned, path)
    shutil.copyfile(models, moved)
    extend(ExtendConfig(path, ("expected",), {"expected": str(moved)}))
    other = tmp_path / "other.npz"
    expect(ExpectConfig(planned, other, groups=2, seed=1))
    with pytest.raises(WeightsRefused, match="is not the file that was planned"):
        extract(ExtractConfig(path, workers=0, paths={"weights/expected": str(other)}))
    with pytest.raises(NotAsPlanned, match=r"(?s)weights_sha256.*--expected-weights"):
        extract(ExtractConfig(path, workers=1, paths={"weights/expected": str(other)}))
    moved.write_bytes(b"nothing")
    with pytest.raises(WeightsRefused, match="is not the file that was planned"):
        extract(ExtractConfig(path, workers=0))
    extract(ExtractConfig(path, workers=0, shards=(0,), paths={"weights/expected": str(models)}))
