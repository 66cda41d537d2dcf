"""Comparison of chunks, shards and compressors: size and speed of the same arrays in other layouts."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from keybed.store.disk.blosc_shards import DirectArray
from keybed.store.disk.zarr_arrays import read_into

REPEATS = 3


def compressors() -> dict[str, list[Any]]:
    """Name → codecs of a chunk; all end in crc32c as the store's do."""
    from zarr.codecs import BloscCodec, Crc32cCodec, ZstdCodec

    def blosc(name: Any, level: int, shuffle: Any) -> Any:
        return BloscCodec(cname=name, clevel=level, shuffle=shuffle, typesize=2)

    tried = {
        "none": [],
        "zstd-1": [ZstdCodec(level=1)],
        "zstd-3": [ZstdCodec(level=3)],
        "lz4 shuffle": [blosc("lz4", 5, "shuffle")],
        "lz4 bitshuffle": [blosc("lz4", 5, "bitshuffle")],
        "zstd-1 bitshuffle": [blosc("zstd", 1, "bitshuffle")],
    }
    return {name: [*codecs, Crc32cCodec()] for name, codecs in tried.items()}


def try_layouts(folder: Path, frames: np.ndarray, layers: np.ndarray, quick: bool) -> Table:
    """Size, writing speed and reading speed (whole shards; one state of layers) of each combination.

    Blosc layouts are read as the store reads them (DirectArray), others by zarrs.
    """
    table = Table("array", "chunk", "shard rows", "compressor", "size", "write MB/s", "read MB/s", "rows/s", box=None)
    shard = min(1024, len(frames))
    whole = tuple(slice(0, n) for n in frames.shape[1:])
    for name, codecs in compressors().items():
        for rows in (64, 256):
            _row(table, folder, "frames", frames, (rows, *frames.shape[1:]), shard, name, codecs, whole)
    chosen = compressors()["lz4 bitshuffle"]
    for chunk_rows, shard_rows in ((16, shard), (shard, shard), (64, 256)):
        chunk = (chunk_rows, *frames.shape[1:])
        _row(table, folder, "frames", frames, chunk, shard_rows, "lz4 bitshuffle", chosen, whole)
    states, width = layers.shape[2:]
    layer_shard = min(1024, len(layers))
    every = tuple(slice(0, n) for n in layers.shape[1:])
    one = (every[0], slice(states // 2, states // 2 + 1), every[2])
    for chunk in ((64, 2, states, width), (256, 2, states, width), (256, 2, 1, width)):
        if not (quick and chunk[0] == 256 and chunk[2] > 1):
            _row(table, folder, "layers, all", layers, chunk, layer_shard, "lz4 bitshuffle", chosen, every)
            _row(table, folder, "layers, one state", layers, chunk, layer_shard, "lz4 bitshuffle", chosen, one)
    return table


def _row(
    table: Table,
    folder: Path,
    what: str,
    values: np.ndarray,
    chunk: tuple[int, ...],
    shard_rows: int,
    compressor: str,
    codecs: list[Any],
    inner: tuple[slice, ...],
) -> None:
    import zarr
    import zarrs  # noqa: F401  registers the pipeline

    path = folder / "layout"
    array = zarr.create_array(
        path,
        shape=values.shape,
        dtype="float16",
        chunks=chunk,
        shards=(shard_rows, *values.shape[1:]),
        compressors=codecs,
        chunk_key_encoding={"name": "default", "separator": "."},
        config={"write_empty_chunks": True},
    )
    starts = range(0, len(values), shard_rows)
    begun = time.perf_counter()
    for start in starts:
        array[start : start + shard_rows] = values[start : start + shard_rows]
    writing = time.perf_counter() - begun
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    with zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"}):
        opened = zarr.open_array(path, mode="r")
    direct = DirectArray.of(opened, path)
    out = np.empty((shard_rows, *(part.stop - part.start for part in inner)), values.dtype)
    reading = np.inf
    for _ in range(REPEATS):
        begun = time.perf_counter()
        for start in starts:
            selection = (slice(start, start + shard_rows), *inner)
            if direct is None:
                read_into(opened, selection, out)
            else:
                direct.read_into(selection, out)
        reading = min(reading, time.perf_counter() - begun)
    n_bytes = out.nbytes * len(starts)
    shutil.rmtree(path)
    table.add_row(
        what,
        str(chunk),
        str(shard_rows),
        compressor,
        f"{size / values.nbytes:.1%}",
        f"{values.nbytes / writing / 1e6:,.0f}",
        f"{n_bytes / reading / 1e6:,.0f}",
        f"{len(values) / reading:,.0f}",
    )
