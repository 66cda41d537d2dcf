"""Decode shards of Blosc chunks directly into memory that the caller has allocated.

General Zarr readers decode each chunk into new memory and copy it; during training the new pages cost more time than the
decoding. Format: sharding_indexed of Zarr v3 (zarr-specs.readthedocs.io, codecs/sharding-indexed, 1.0): chunks one after
another, then an index of (offset, length) as two uint64 per chunk, then the crc32c checksum of the index.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keybed.store.counted import counted
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

    def read_into(
        self,
        selection: tuple[slice, ...],
        out: np.ndarray,
        expected: Callable[[int], str | None] = lambda shard: None,
    ) -> None:
        """Decode [start, stop) along every axis into `out`, contiguous and of that shape.

        expected: shard → the checksums that its chunks must have, as `chunk_checksums` gives them, or None.
        Raises Damaged, FileNotFoundError, RuntimeError (Blosc).
        """
        if not out.size:
            return
        rows, *inner = selection
        for shard in range(rows.start // self.shard_rows, (rows.stop - 1) // self.shard_rows + 1):
            first = shard * self.shard_rows
            start, stop = max(rows.start, first), min(rows.stop, first + self.shard_rows)
            wanted = (slice(start - first, stop - first), *inner)
            self._read_shard(shard, wanted, out[start - rows.start : stop - rows.start], expected(shard))

    def chunk_checksums(self, data: memoryview) -> str:
        """The crc32c of every chunk of one encoded shard in the order of its index, 8 hex digits each.

        `ffffffff` for a chunk that was never written, as beyond the last row. data: as `encode_shard` made it.
        """
        stored = np.frombuffer(data, np.uint8)
        index = _checked(stored[-self._index_bytes :]).view("<u8").reshape(-1, 2)
        words = np.full((len(index), _CRC_BYTES), 0xFF, np.uint8)
        written = index[:, 0] != np.uint64(2**64 - 1)
        ends = index[written].sum(axis=1).astype(np.int64)
        words[written] = stored[ends[:, None] - np.arange(1, _CRC_BYTES + 1)]  # big-endian, as one reads numbers
        return words.tobytes().hex()

    def _read_shard(self, shard: int, wanted: tuple[slice, ...], out: np.ndarray, expected: str | None) -> None:
        path = self.folder / object_key(shard, len(self.shape))
        file = os.open(path, os.O_RDONLY)
        try:
            index = self._index(file)
            checksums = None if expected is None else self._checksums(expected, index.shape[:-1])
            jobs = [
                (index[at], None if checksums is None else int(checksums[at]), overlap, chunk)
                for at, overlap, chunk in self._chunks(wanted)
            ]

            def decode(job: tuple[NDArray[np.uint64], int | None, tuple[slice, ...], tuple[slice, ...]]) -> None:
                (offset, length), checksum, within, where = job
                self._decode(file, int(offset), int(length), within, out[where], checksum)

            if len(jobs) == 1:
                decode(jobs[0])
            else:
                list(_workers().map(decode, jobs))
        except Damaged as error:
            raise Damaged(f"{path}: {error}") from error
        finally:
            os.close(file)

    def _checksums(self, expected: str, counts: tuple[int, ...]) -> NDArray[np.uint32]:
        words = np.frombuffer(bytes.fromhex(expected), ">u4")
        if words.size != int(np.prod(counts)):
            raise Damaged(f"{counted(int(np.prod(counts)), 'chunk')}, recorded were {words.size}")
        return words.reshape(counts)

    def _index(self, file: int) -> NDArray[np.uint64]:
        """Offset and length of every chunk in the file, uint64 (chunks along axis 0, …, 2)."""
        length = self._index_bytes
        size = os.fstat(file).st_size
        if size < length:
            raise Damaged(f"{size} bytes, too short for an index of {length}")
        index = _checked(_read(file, size - length, np.empty(length, np.uint8)))
        return index.view("<u8").reshape(*self._counts, 2)

    @property
    def _counts(self) -> tuple[int, ...]:
        """Chunks of a shard along each axis."""
        return tuple(-(-n // c) for n, c in zip((self.shard_rows, *self.shape[1:]), self.chunk, strict=True))

    @property
    def _index_bytes(self) -> int:
        return 16 * int(np.prod(self._counts)) + _CRC_BYTES

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

    def _decode(
        self, file: int, offset: int, length: int, within: tuple[slice, ...], out: np.ndarray, checksum: int | None
    ) -> None:
        from numcodecs.blosc import Blosc

        if (
            length < _CRC_BYTES or offset + length > os.fstat(file).st_size
        ):  # both are 2^64 − 1 for a chunk that was never written
            raise Damaged(f"a chunk of {length} bytes at {offset} is beyond the end of the file")
        stored = _read(file, offset, _scratch("packed", length))
        if checksum is not None and _crc(stored) != checksum:
            raise Damaged(
                f"the chunk at byte {offset} is not the one that was written here: another file took its place"
            )
        packed = _checked(stored)
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

    payload = stored[:-_CRC_BYTES]
    if google_crc32c.value(payload) != _crc(stored):
        raise Damaged("a checksum (crc32c) does not match its bytes")
    return payload


def _crc(stored: NDArray[np.uint8]) -> int:
    """The crc32c at the end of a chunk or an index."""
    return int.from_bytes(stored[-_CRC_BYTES:].tobytes(), "little")


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
