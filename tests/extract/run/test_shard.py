"""Waiting for rendered rows, and the file that holds waveforms."""

from __future__ import annotations

import errno
import os
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from keybed import store as stores
from keybed.extract.audio.waveform import RenderedRow
from keybed.extract.run.check_recipe import render_config
from keybed.extract.run.row_maker import RowMaker, SegmentJob
from keybed.extract.run.row_pool import RowPool
from keybed.extract.run.shard import ShardRows
from keybed.store.errors import NoDiskSpace


class _LateFuture(Future[list[RenderedRow]]):
    """Its first wait times out, and the rows are there just after that."""

    def __init__(self, make: Any) -> None:
        super().__init__()
        self._make = make

    def result(self, timeout: float | None = None) -> list[RenderedRow]:
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

    def submit(self, job: SegmentJob) -> Future[list[RenderedRow]]:
        return _LateFuture(lambda: self._make(job))


def test_rows_that_come_between_the_wait_and_the_look_are_taken(planned_store: Path) -> None:
    store = stores.open(planned_store)
    maker = RowMaker(render_config(store, store.machine_paths))
    rows = ShardRows(store, 0, _LatePool(maker.make))
    assert len(rows) == 8
    assert [rows.row(row).status for row in range(len(rows))] == [0] * 8
    rows.close()


def test_a_time_out_of_the_work_itself_ends_the_wait(planned_store: Path) -> None:
    def too_slow(job: SegmentJob) -> list[RenderedRow]:
        raise TimeoutError(errno.ETIMEDOUT, "the file server did not answer")

    rows = ShardRows(stores.open(planned_store), 0, _LatePool(too_slow))
    with pytest.raises(TimeoutError, match="did not answer"):
        rows.row(0)


def test_a_full_scratch_disk_is_named_before_a_waveform_is_written(
    planned_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: int, offset: int, length: int) -> None:
        assert length == 8 * 240_000 * 4
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    store = stores.open(planned_store)
    with pytest.raises(NoDiskSpace, match=f"no disk space left .* while writing {tmp_path}"):
        ShardRows(store, 0, RowPool(render_config(store, store.machine_paths), 0), scratch=tmp_path)
