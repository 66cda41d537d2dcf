"""Reading sharded arrays directly: the same numbers as zarr-python for any selection, and no silent damage."""

import subprocess
import sys

import numpy as np
import pytest
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec, ZstdCodec

from keybed.store.disk.blosc_shards import Damaged, DirectArray

SHAPE = (150, 6, 2, 5)
BLOSC = (BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle", typesize=2), Crc32cCodec())


def written(folder, chunks=(16, 6, 2, 5), shards=(64, 6, 2, 5), compressors=BLOSC, dtype="float16", **more):
    array = zarr.create_array(
        folder,
        shape=SHAPE,
        dtype=dtype,
        chunks=chunks,
        shards=shards,
        compressors=compressors,
        chunk_key_encoding=more.get("keys", {"name": "default", "separator": "."}),
        config={"write_empty_chunks": more.get("write_empty_chunks", True)},
    )
    array[...] = np.random.default_rng(0).normal(size=SHAPE).astype(dtype) if "values" not in more else more["values"]
    return array


def read(direct, selection):
    out = np.full([part.stop - part.start for part in selection], 77, direct.dtype)
    direct.read_into(selection, out)
    return out


@pytest.mark.parametrize("chunks", [(16, 6, 2, 5), (64, 6, 2, 5), (16, 3, 1, 5), (4, 2, 1, 5)])
def test_any_selection_equals_zarr_python(tmp_path, chunks):
    array = written(tmp_path, chunks)
    direct = DirectArray.of(array, tmp_path)
    random = np.random.default_rng(1)
    for _ in range(40):
        selection = tuple(slice(*sorted(random.choice(n + 1, 2, replace=False).tolist())) for n in SHAPE)
        np.testing.assert_array_equal(read(direct, selection), array[selection])
    whole = tuple(slice(0, n) for n in SHAPE)
    np.testing.assert_array_equal(read(direct, whole), array[...])


@pytest.mark.parametrize("dtype", ["int8", "float32", "uint16"])
def test_other_types(tmp_path, dtype):
    array = written(tmp_path, dtype=dtype)
    np.testing.assert_array_equal(read(DirectArray.of(array, tmp_path), tuple(slice(0, n) for n in SHAPE)), array[...])


@pytest.mark.parametrize(
    "how",
    [
        {"compressors": (ZstdCodec(level=1), Crc32cCodec())},
        {"compressors": BLOSC[:1]},
        {"shards": (64, 12, 2, 5), "chunks": (16, 6, 2, 5)},
        {"keys": {"name": "default", "separator": "/"}},
        {"shards": None},
    ],
)
def test_another_layout_is_left_to_zarr_python(tmp_path, how):
    assert DirectArray.of(written(tmp_path, **how), tmp_path) is None


def test_a_flipped_bit_anywhere_is_noticed(tmp_path):
    array = written(tmp_path, shards=(160, 6, 2, 5), chunks=(32, 6, 2, 5))
    direct = DirectArray.of(array, tmp_path)
    file = tmp_path / "c.0.0.0.0"
    good = file.read_bytes()
    whole = tuple(slice(0, n) for n in SHAPE)
    for at in np.random.default_rng(2).integers(0, len(good), 60):
        bad = bytearray(good)
        bad[at] ^= 1 << int(at % 8)
        file.write_bytes(bad)
        with pytest.raises(Damaged, match=r"c\.0\.0\.0\.0"):
            read(direct, whole)
    for n_bytes in (0, 3, 40, len(good) - 1):
        file.write_bytes(good[:n_bytes])
        with pytest.raises(Damaged):
            read(direct, whole)


def test_a_chunk_that_was_never_written_is_damage_not_zeros(tmp_path):
    values = np.ones(SHAPE, np.float16)
    values[16:32] = 0  # the fill value: left out
    direct = DirectArray.of(written(tmp_path, values=values, write_empty_chunks=False), tmp_path)
    assert (read(direct, (slice(0, 16), *(slice(0, n) for n in SHAPE[1:]))) == 1).all()
    with pytest.raises(Damaged, match="beyond the end of the file"):
        read(direct, tuple(slice(0, n) for n in SHAPE))


def test_a_forked_child_reads_too(tmp_path):
    array = written(tmp_path)
    script = f"""
import os
from pathlib import Path
import numpy as np, zarr
from keybed.store.disk.blosc_shards import DirectArray
direct = DirectArray.of(zarr.open_array({str(tmp_path)!r}, mode="r"), Path({str(tmp_path)!r}))
whole = tuple(slice(0, n) for n in direct.shape)
out, again = np.empty(direct.shape, direct.dtype), np.empty(direct.shape, direct.dtype)
direct.read_into(whole, out)
child = os.fork()
if not child:
    direct.read_into(whole, again)
    os._exit(0 if np.array_equal(out, again) else 1)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert array.shape == SHAPE
    subprocess.run([sys.executable, "-c", script], check=True, timeout=300)
