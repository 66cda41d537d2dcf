"""Create, encode and open single Zarr arrays with zarr-python. Sharded arrays are read by `blosc_shards`."""

from __future__ import annotations

import threading
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from keybed.store.disk.blosc_shards import DirectArray
from keybed.store.errors import StoreError
from keybed.store.format.array_specs import ArraySpec
from keybed.store.format.layout import object_key

_pipeline = threading.RLock()
"""Held while an array is opened: zarr takes its codec pipeline from a process-wide setting at that moment."""

_PIPELINE = {"codec_pipeline.path": "zarr.core.codec_pipeline.BatchedCodecPipeline"}


def codecs(dtype: str, sharded: bool) -> list[Any]:
    """The codecs of every chunk of this dtype; crc32c comes last, so that every reader detects a flipped bit.

    Features are float16 whose exponents hardly change along a channel: bitshuffle and lz4 save an eighth of the bytes at
    the speed of memory; zstd alone saves less and reads at two fifths of that speed (measured by bench_store).
    """
    from zarr.codecs import BloscCodec, Crc32cCodec, ZstdCodec

    if sharded:
        return [
            BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle", typesize=np.dtype(dtype).itemsize),
            Crc32cCodec(),
        ]
    return [ZstdCodec(level=3), Crc32cCodec()]


def make_array(store: Any, spec: ArraySpec) -> Any:
    """Create one array's metadata in a Zarr store (folder or memory) and return the array, writable."""
    import zarr

    with _pipeline, zarr.config.set(_PIPELINE):
        return zarr.create_array(
            store,
            name=spec.path,
            shape=spec.shape,
            dtype=spec.dtype,
            chunks=spec.chunks,
            shards=spec.shards,
            fill_value=spec.fill_value,
            compressors=codecs(spec.dtype, spec.shards is not None),
            dimension_names=spec.dims,
            attributes=spec.attributes,
            chunk_key_encoding={"name": "default", "separator": "."},
            config={"write_empty_chunks": True},
        )


def encode_shard(folder: Path, spec: ArraySpec, shard: int, start: int, values: np.ndarray) -> tuple[memoryview, str]:
    """The bytes of one shard as zarr-python would write them to disk, and `DirectArray.chunk_checksums` of them.

    folder: the array's; its `zarr.json` decides chunks and codecs, so that all shards of a store agree even if another
    version planned it. values: (rows of the shard, …) in the array's dtype. Equal values give equal bytes. The checksums
    are empty for an array that `blosc_shards` does not read.
    """
    array, objects = _encoder(folder, (folder / "zarr.json").read_bytes())
    array[start : start + len(values)] = values
    key = object_key(shard, len(spec.shape))
    if key not in objects:
        raise StoreError(f"{spec.path}: rows from {start} did not become the object {key}")
    data = memoryview(objects.pop(key).to_bytes())
    direct = DirectArray.of(array, folder) if array.shards else None
    return data, "" if direct is None else direct.chunk_checksums(data)


@lru_cache(maxsize=256)
def _encoder(folder: Path, metadata: bytes) -> tuple[Any, dict[str, Any]]:
    """An array with this `zarr.json`, and the objects that it writes, in memory. Opening one takes as long as encoding a shard.

    Tasks that encode several shards at once share it: each shard has a key of its own.
    """
    import zarr
    from zarr.core.buffer import default_buffer_prototype
    from zarr.storage import MemoryStore

    objects: dict[str, Any] = {"zarr.json": default_buffer_prototype().buffer.from_bytes(metadata)}
    # open_array ignores its `config` argument, so the process-wide setting must be used
    with _pipeline, zarr.config.set({**_PIPELINE, "array.write_empty_chunks": True}):
        return zarr.open_array(MemoryStore(objects), mode="r+"), objects


def open_for_reading(features: Path, path: str) -> Any:
    """One array of the group at `features`, read-only."""
    import zarr

    with _pipeline, zarr.config.set(_PIPELINE):
        return zarr.open_array(zarr.storage.LocalStore(features, read_only=True), path=path, mode="r")


def read_into(array: Any, selection: tuple[slice, ...], out: np.ndarray) -> None:
    """Decode a selection of a zarr-python array into `out`."""
    from zarr.core.buffer import default_buffer_prototype

    if out.size:
        array.get_basic_selection(selection, out=default_buffer_prototype().nd_buffer.from_numpy_array(out))


def column_from_bytes(spec: ArraySpec, data: bytes) -> np.ndarray:
    """Decode a column that lies in one chunk from the bytes of its file. Raises RuntimeError or ValueError where damaged."""
    from zarr.core.buffer import default_buffer_prototype
    from zarr.storage import MemoryStore

    objects: dict[str, Any] = {}
    array = make_array(MemoryStore(objects), spec)
    objects[f"{spec.path}/{object_key(0, len(spec.shape))}"] = default_buffer_prototype().buffer.from_bytes(data)
    values: np.ndarray = array[...]
    return values
