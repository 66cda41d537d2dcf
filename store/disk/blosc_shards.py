"""Decode shards of Blosc chunks directly into memory that the caller has allocated.

General Zarr readers decode each chunk into new memory and copy it; during training the new pages cost more time than the
decoding. Format: sharding_indexed of Zarr v3 (zarr-specs.readthedocs.io, codecs/sharding-indexed, 1.0): chunks one after
another, then an index of (offset, length) as two uint64 per chunk, then the crc32c checksum of the index.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keybed.store.format.layout import object_key

_CRC_BYTES = 4
_INNER = ("bytes", "blosc", "crc32c")
_INDEX = ("bytes", "crc32c")
_BLOSC_HEADER = 16


class Damaged(ValueError):
    """Bytes that do not fit the format or their checksum."""


@dataclass(frozen=True)
class DirectArray:
    """A sharded array: shards of whole rows, little-endian numbers, each chunk Blosc-compressed with a crc32c."""

    folder: Path
    shape: tuple[int, ...]
    shard_rows: int
    chunk: tuple[int, ...]
    dtype: np.dtype[Any]

    @staticmethod
    def of(array: Any, folder: Path) -> DirectArray | None:
        """The Zarr array as a DirectArray; None where its layout is one that this module cannot read."""
        codecs = array.metadata.to_dict()["codecs"]
        if len(codecs) != 1 or codecs[0]["name"] != "sharding_indexed":
            return None
        sharding = codecs[0]["configuration"]
        inner, index = (tuple(codec["name"] for codec in sharding[key]) for key in ("codecs", "index_codecs"))
        known = inner == _INNER and index == _INDEX and sharding.get("index_location", "end") == "end"
        orders = [
            sharding[key][0].get("configuration", {}).get("endian", "little") for key in ("codecs", "index_codecs")
        ]
        separator = array.metadata.chunk_key_encoding.separator
        rows, *rest = array.shards
        if not known or set(orders) != {"little"} or separator != "." or tuple(rest) != array.shape[1:]:
            return None
        return DirectArray(folder, array.shape, rows, tuple(sharding["chunk_shape"]), array.dtype)

    def read_into(self, selection: tuple[slice, ...], out: np.ndarray) -> None:
        """Decode [start, stop) along every axis into `out`, contiguous and of that shape.

        Raises Damaged, FileNotFoundError, RuntimeError (Blosc).
        """
        if not out.size:
            return
        rows, *inner = selection
        for shard in range(rows.start // self.shard_rows, (rows.stop - 1) // self.shard_rows + 1):
            first = shard * self.shard_rows
            start, stop = max(rows.start, first), min(rows.stop, first + self.shard_rows)
            wanted = (slice(start - first, stop - first), *inner)
            self._read_shard(shard, wanted, out[start - rows.start : stop - rows.start])

    def _read_shard(self, shard: int, wanted: tuple[slice, ...], out: np.ndarray) -> None:
        path = self.folder / object_key(shard, len(self.shape))
        file = os.open(path, os.O_RDONLY)
        try:
            index = self._index(file)
            jobs = [(index[at], overlap, chunk) for at, overlap, chunk in self._chunks(wanted)]

            def decode(job: tuple[NDArray[np.uint64], tuple[slice, ...], tuple[slice, ...]]) -> None:
                (offset, length), within, where = job
                self._decode(file, int(offset), int(length), within, out[where])

            if len(jobs) == 1:
                decode(jobs[0])
            else:
                list(_workers().map(decode, jobs))
        except Damaged as error:
            raise Damaged(f"{path}: {error}") from error
        finally:
            os.close(file)

    def _index(self, file: int) -> NDArray[np.uint64]:
        """Offset and length of every chunk in the file, uint64 (chunks along axis 0, …, 2)."""
        counts = [-(-n // c) for n, c in zip((self.shard_rows, *self.shape[1:]), self.chunk, strict=True)]
        length = 16 * int(np.prod(counts)) + _CRC_BYTES
        size = os.fstat(file).st_size
        if size < length:
            raise Damaged(f"{size} bytes, too short for an index of {length}")
        return _checked(_read(file, size - length, np.empty(length, np.uint8))).view("<u8").reshape(*counts, 2)

    def _chunks(
        self, wanted: tuple[slice, ...]
    ) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...], tuple[slice, ...]]]:
        """Every chunk that overlaps `wanted`: (its number along each axis, the part to copy, where the part goes in `out`)."""
        touched = [range(w.start // c, (w.stop - 1) // c + 1) for w, c in zip(wanted, self.chunk, strict=True)]
        for at in product(*touched):
            within, where = [], []
            for number, part, size in zip(at, wanted, self.chunk, strict=True):
                start, stop = max(part.start, number * size), min(part.stop, (number + 1) * size)
                within.append(slice(start - number * size, stop - number * size))
                where.append(slice(start - part.start, stop - part.start))
            yield at, tuple(within), tuple(where)

    def _decode(self, file: int, offset: int, length: int, within: tuple[slice, ...], out: np.ndarray) -> None:
        from numcodecs.blosc import Blosc

        if offset + length > os.fstat(file).st_size:  # both are 2^64 − 1 for a chunk that was never written
            raise Damaged(f"a chunk of {length} bytes at {offset} is beyond the end of the file")
        packed = _checked(_read(file, offset, _scratch("packed", length)))
        n_bytes = int(np.prod(self.chunk)) * self.dtype.itemsize
        if len(packed) < _BLOSC_HEADER or int(packed[4:8].view("<u4")[0]) != n_bytes:
            raise Damaged(f"the chunk at byte {offset} does not hold {n_bytes} bytes")
        if out.shape == self.chunk and out.flags.c_contiguous:
            Blosc().decode(packed, out=out)
            return
        whole = _scratch("whole", n_bytes)
        Blosc().decode(packed, out=whole)
        out[...] = whole.view(self.dtype).reshape(self.chunk)[within]


def _read(file: int, offset: int, into: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if os.preadv(file, [into.data], offset) != len(into):
        raise Damaged(f"the file ends before {len(into)} bytes at {offset}")
    return into


def _checked(stored: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The bytes without their crc32c. Raises Damaged where it does not match."""
    import google_crc32c

    payload, crc = stored[:-_CRC_BYTES], stored[-_CRC_BYTES:]
    if google_crc32c.value(payload) != int.from_bytes(crc.tobytes(), "little"):
        raise Damaged("a checksum (crc32c) does not match its bytes")
    return payload


_local = threading.local()


def _scratch(name: str, n_bytes: int) -> NDArray[np.uint8]:
    """n_bytes of memory that belongs to this thread and is reused from call to call."""
    kept: NDArray[np.uint8] | None = getattr(_local, name, None)
    if kept is None or len(kept) < n_bytes:
        kept = np.empty(n_bytes, np.uint8)
        setattr(_local, name, kept)
    return kept[:n_bytes]


@cache
def _workers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(min(8, len(os.sched_getaffinity(0))), thread_name_prefix="decode")


os.register_at_fork(after_in_child=_workers.cache_clear)  # threads do not survive a fork
