"""The file through which waveforms and features come from the processes that render."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from keybed.extract.run.shard_file import NoSharedFile, ShardFile, ShardFiles
from keybed.store.errors import NoDiskSpace

ROWS = {"audio": ((5,), "float32"), "layers": ((2, 1, 3), "float16"), "mask": ((4,), "bool")}


@pytest.fixture
def file() -> Iterator[ShardFile]:
    with closing(ShardFile(2, ROWS)) as opened:
        yield opened


def some_rows(n: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(n)
    return {name: rng.integers(0, 2, (n, *shape)).astype(dtype) for name, (shape, dtype) in ROWS.items()}


def test_a_file_serves_a_later_shard_of_the_same_arrays() -> None:
    with closing(ShardFiles()) as files:
        first = files.take(4, ROWS)
        second = files.take(4, ROWS)
        assert second is not first
        files.give_back(first)
        with closing(files.take(5, ROWS)) as longer, closing(files.take(4, {"audio": ROWS["audio"]})) as other:
            assert longer is not first
            assert other is not first
        assert files.take(3, ROWS) is first
        files.give_back(first)
        files.give_back(second)


@pytest.mark.parametrize("where", ["memory", "folder"])
def test_rows_of_two_segments_land_in_their_places(tmp_path: Path, where: str) -> None:
    file = ShardFile(6, ROWS, tmp_path if where == "folder" else None)
    first, second = some_rows(4), some_rows(2)
    file.target(4).write(second)
    file.target(0).write(first)
    for name in ROWS:
        np.testing.assert_array_equal(file[name], np.concatenate([first[name], second[name]]))
        assert not file[name].flags.writeable
    assert list(tmp_path.iterdir()) == []
    kept = file["audio"]
    file.close()
    np.testing.assert_array_equal(kept[:4], first["audio"])


def test_another_process_writes_through_proc(file: ShardFile) -> None:
    script = f"""
import numpy as np
from keybed.extract.run.shard_file import RowArray, RowsTarget
{file.target(1)!r}.write({{"audio": np.arange(5, dtype=np.float32)[None]}})
"""
    subprocess.run([sys.executable, "-c", script], check=True)
    np.testing.assert_array_equal(file["audio"], [[0, 0, 0, 0, 0], [0, 1, 2, 3, 4]])


def test_rows_that_come_after_the_end_go_to_no_other_file(file: ShardFile, tmp_path: Path) -> None:
    late = file.target(0)
    number = int(Path(late.path).name)
    file.close()
    with pytest.raises(NoSharedFile, match=r"cannot open .* `keybed extract --workers 0` works without it"):
        late.write(some_rows(2))
    other = tmp_path / "other"
    other.write_bytes(b"precious")
    with other.open("rb") as opened:
        os.dup2(opened.fileno(), number)
        with pytest.raises(NoSharedFile, match="no longer waits"):
            late.write(some_rows(2))
        if number != opened.fileno():
            os.close(number)
    assert other.read_bytes() == b"precious"


def test_rows_of_another_shape_are_refused(file: ShardFile) -> None:
    with pytest.raises(ValueError, match=r"audio: float64 \(5,\), the file holds float32 \(5,\)"):
        file.target(0).write({"audio": np.zeros((2, 5))})


def test_a_full_scratch_disk_is_named_before_a_row_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: int, offset: int, length: int) -> None:
        assert length >= 8 * 240_000 * 4
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(NoDiskSpace, match=f"no disk space left .* while writing {tmp_path}"):
        ShardFile(8, {"audio": ((240_000,), "float32")}, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_while_a_row_is_written_is_named(file: ShardFile, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(number: int, data: memoryview, offset: int) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(NoDiskSpace, match="no disk space left"):
        file.target(0).write(some_rows(2))


def test_a_write_that_is_cut_short_goes_on(file: ShardFile, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, rows = os.pwrite, some_rows(2)
    monkeypatch.setattr(os, "pwrite", lambda number, data, offset: whole(number, data[:3], offset))
    file.target(0).write(rows)
    np.testing.assert_array_equal(file["audio"], rows["audio"])


def test_memory_for_a_shard_comes_from_the_kernel_and_not_from_dev_shm(file: ShardFile) -> None:
    """So an absent or tiny /dev/shm, as in containers, changes nothing."""
    assert str(Path(file.target(0).path).readlink()) == "/memfd:keybed-shard (deleted)"


def test_no_memory_for_a_shard_names_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(name: str) -> int:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    monkeypatch.setattr(os, "memfd_create", none)
    with pytest.raises(NoSharedFile, match=r"no memory of 0.01 GB .* give --scratch FOLDER"):
        ShardFile(8, {"audio": ((240_000,), "float32")})


def test_a_kill_leaves_no_file_behind(tmp_path: Path) -> None:
    script = f"""
import time
from pathlib import Path
from keybed.extract.run.shard_file import ShardFile
files = [ShardFile(2, {ROWS!r}, folder) for folder in (None, Path({str(tmp_path)!r}))]
print("open", flush=True)
time.sleep(600)
"""
    before = set(Path("/dev/shm").iterdir())
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        process.kill()
    assert list(tmp_path.iterdir()) == []
    assert not {path for path in set(Path("/dev/shm").iterdir()) - before if "keybed" in path.name}
