"""Waiting for rendered rows, and what renderers do for the encoders."""

from __future__ import annotations

import concurrent.futures
import errno
import shutil
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keybed import store as stores
from keybed.extract.config import ExtractConfig, PlanConfig
from keybed.extract.encoders import build
from keybed.extract.encoders.base import Clip
from keybed.extract.encoders.midibert.cp_tokens import tokenize
from keybed.extract.planning.plan import plan
from keybed.extract.run import pipeline
from keybed.extract.run.check_recipe import render_config
from keybed.extract.run.row_maker import FilledSegment, RowMaker, SegmentJob, segment_jobs
from keybed.extract.run.row_pool import RowPool
from keybed.extract.run.shard import EncodedShard, ShardRows, encode_shard
from keybed.extract.run.shard_file import RowsTarget, ShardFiles
from keybed.extract.run.task import extract


class _LateFuture(Future[FilledSegment]):
    """Its first wait times out, and the rows are there just after that."""

    def __init__(self, make: Any) -> None:
        super().__init__()
        self._make = make

    def result(self, timeout: float | None = None) -> FilledSegment:
        if not self.done():
            try:
                self.set_result(self._make())
            except TimeoutError as error:
                self.set_exception(error)
            raise TimeoutError
        return super().result(timeout)


class _LatePool(RowPool):
    def __init__(self, make: Any) -> None:
        self._pool, self._make = None, make

    def fill(self, job: SegmentJob, target: RowsTarget) -> Future[FilledSegment]:
        return _LateFuture(lambda: self._make(job, target))


def test_rows_that_come_between_the_wait_and_the_look_are_taken(planned_store: Path) -> None:
    store = stores.open(planned_store)
    maker = RowMaker(render_config(store, store.machine_paths), store.recipe.encoders)
    rows = ShardRows(store, 0, _LatePool(maker.fill))
    assert len(rows) == 8
    assert [rows.row(row).status for row in range(len(rows))] == [0] * 8
    rows.close()


def test_a_time_out_of_the_work_itself_ends_the_wait(planned_store: Path) -> None:
    def too_slow(job: SegmentJob, target: RowsTarget) -> FilledSegment:
        raise TimeoutError(errno.ETIMEDOUT, "the file server did not answer")

    rows = ShardRows(stores.open(planned_store), 0, _LatePool(too_slow))
    with pytest.raises(TimeoutError, match="did not answer"):
        rows.row(0)
    rows.close()


def content(store: Path) -> dict[str, bytes]:
    """The bytes of every feature and commit."""
    files = (path for part in ("features.zarr", "commits") for path in sorted((store / part).rglob("*")))
    return {path.relative_to(store).as_posix(): path.read_bytes() for path in files if path.is_file()}


@pytest.fixture(scope="module")
def two_kinds(tiny_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A planned store with two encoders that renderers compute and two that the task computes, one of audio, one of tokens."""
    path = tmp_path_factory.mktemp("two_kinds") / "store"
    names = ("mert", "midibert", "logmel", "expressive")
    weights = {"mert": "random:tiny", "midibert": "random:tiny"}
    plan(PlanConfig(tiny_corpus, path, limit=4, encoders=names, weights=weights, shard_rows=8, jobs=1, threads=1))
    return path


def test_one_two_and_five_workers_give_the_bytes_of_none(two_kinds: Path, tmp_path: Path) -> None:
    made = {}
    for workers in (0, 1, 2, 5):
        store = Path(shutil.copytree(two_kinds, tmp_path / str(workers)))
        extract(ExtractConfig(store, workers=workers, scratch=tmp_path if workers == 1 else None))
        made[workers] = content(store)
    assert len(made[0]) > 20
    assert made[1] == made[2] == made[5] == made[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1", "2", "5"]


def test_renderers_compute_what_the_encoders_give_for_a_whole_shard(two_kinds: Path) -> None:
    store = stores.open(two_kinds)
    rendering, specs = render_config(store, store.machine_paths), store.recipe.encoders
    clips = [
        Clip(row.audio, row.variant.performance, 10.0)
        for job in segment_jobs(store.columns(0, 8))
        for row in RowMaker(rendering).make(job)
    ]
    with RowPool(rendering, 0, specs) as pool:
        rows = ShardRows(store, 0, pool)
        given = list(rows)
        features = rows.features()
        rows.close()
    in_renderers = [spec for spec in specs if spec.name in ("logmel", "expressive")]
    assert set(features) == {f"{spec.group}/{part}" for spec in in_renderers for part in ("layers", "frames")} | {
        "midi/expressive/mask"
    }
    for spec in in_renderers:
        pooled = build(spec, None).encode(clips)
        np.testing.assert_array_equal(features[f"{spec.group}/layers"], pooled.layers.astype(np.float16))
        np.testing.assert_array_equal(features[f"{spec.group}/frames"], pooled.frames.astype(np.float16))
    for clip, alone in zip(given, clips, strict=True):
        assert clip is not None
        np.testing.assert_array_equal(clip.audio, alone.audio)
        ids, onset_s = clip.tokens["midibert"]
        np.testing.assert_array_equal(ids, tokenize(alone.performance, 10.0).ids)
        np.testing.assert_array_equal(onset_s, tokenize(alone.performance, 10.0).onset_s)


def test_no_waveform_is_kept_where_renderers_compute_every_encoder(planned_store: Path) -> None:
    store = stores.open(planned_store)
    with RowPool(render_config(store, store.machine_paths), 0, store.recipe.encoders) as pool:
        rows = ShardRows(store, 0, pool)
        clip = rows[0]
        rows.close()
    assert clip is not None
    assert clip.audio.size == 0


def test_a_shard_whose_encoder_is_slower_than_the_next_ones_rendering_keeps_its_rows(
    tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = {"midibert": "random:tiny"}
    encoders = ("midibert", "expressive")
    config = PlanConfig(tiny_corpus, tmp_path / "2", 12, encoders=encoders, weights=weights, shard_rows=8, threads=1)
    plan(config)
    shutil.copytree(tmp_path / "2", tmp_path / "0")
    extract(ExtractConfig(tmp_path / "0", workers=0))
    begun: list[ShardRows] = []

    class Begun(ShardRows):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            begun.append(self)

    def encode_late(rows: ShardRows, encoders: Any) -> EncodedShard:
        for other in begun:
            concurrent.futures.wait(other._futures)  # whatever has been sent to render is rendered
        return encode_shard(rows, encoders)

    monkeypatch.setattr(pipeline, "ShardRows", Begun)
    monkeypatch.setattr(pipeline, "encode_shard", encode_late)
    extract(ExtractConfig(tmp_path / "2", workers=2))
    assert len(begun) >= 5
    assert content(tmp_path / "2") == content(tmp_path / "0")


def test_a_file_that_is_given_back_twice_serves_one_shard(planned_store: Path) -> None:
    store, files = stores.open(planned_store), ShardFiles()
    with RowPool(render_config(store, store.machine_paths), 0, store.recipe.encoders) as pool:
        first = ShardRows(store, 0, pool, files=files)
        list(first)
        first.close()
        first.close()
        second, third = (ShardRows(store, 0, pool, files=files) for _ in range(2))
        assert second._file is first._file
        assert third._file is not second._file
        second.close()
        third.close()
    files.close()
