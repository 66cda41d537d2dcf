"""Read, transform and write one shard: plain functions of (path of the store, shard) that any Dask worker can run.

content: the fingerprint of the source arrays; array: path of an encoder's `frames` or `layers`.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from keybed.store.derive.view_values import project, to_int8
from keybed.store.disk.durable import write_aside
from keybed.store.disk.zarr_arrays import encode_shard
from keybed.store.format.array_specs import ArraySpec
from keybed.store.format.layout import object_key
from keybed.store.format.vocabulary import Status
from keybed.store.read.derived import INT8_MISSING
from keybed.store.read.opening import open_store
from keybed.store.read.store import Store


@lru_cache(maxsize=2)
def opened(path: str, fingerprint: str) -> Store:
    """The open store, kept per process; the fingerprint makes sure that a store with other content is opened again."""
    return open_store(path)


def observations(
    path: str, content: str, array: str, shard: int, *, train_only: bool = True
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The observations of a shard: its OK rows for `layers`, the unmasked bins of its OK rows for `frames`.

    Returns float32 (observations, …), and bool (rows,) for layers or (rows, bins) for frames that is true for them.
    """
    store = opened(path, content)
    start, stop = store.shard_range(shard)
    rows = np.arange(start, stop)
    values = store.read(array, rows)
    chosen = store.read("row/status", rows) == Status.OK
    if train_only:
        first, last = store.splits["train"]
        chosen &= (rows >= first) & (rows < last)
    if array.endswith("/frames"):
        mask_path = array.removesuffix("frames") + "mask"
        has_mask = any(spec.path == mask_path for spec in store.specs)
        mask = store.read(mask_path, rows) if has_mask else np.ones(values.shape[:2], bool)
        chosen = chosen[:, None] & mask
    kept = values.reshape(-1, *values.shape[chosen.ndim :]) if chosen.all() else values[chosen]
    return kept.astype(np.float32), chosen


def write_projection(
    path: str,
    content: str,
    array: str,
    shard: int,
    mean: NDArray[np.float32],
    std: NDArray[np.float32],
    vectors: NDArray[np.float32],
    spec: ArraySpec,
    folder: str,
) -> str:
    """Components of every OK row's bins as float16; 0 in masked bins, NaN in failed rows. Returns the chunks' checksums."""
    values, chosen = observations(path, content, array, shard, train_only=False)
    projected = np.zeros((*chosen.shape, len(vectors)), np.float16)
    projected[chosen] = project(values, mean, std, vectors)
    projected[_failed(path, content, shard)] = np.nan
    return write_rows(spec, shard, projected, path, content, folder)


def write_int8(
    path: str,
    content: str,
    array: str,
    shard: int,
    offset: NDArray[np.float32],
    scale: NDArray[np.float32],
    spec: ArraySpec,
    folder: str,
) -> str:
    """round((x − offset) / scale) clipped to ±127; 0 in masked bins, −128 in failed rows. Returns the chunks' checksums."""
    values, chosen = observations(path, content, array, shard, train_only=False)
    small = np.zeros((*chosen.shape, *offset.shape), np.int8)
    small[chosen] = to_int8(values, offset, scale)
    small[_failed(path, content, shard)] = INT8_MISSING
    return write_rows(spec, shard, small, path, content, folder)


def _failed(path: str, content: str, shard: int) -> NDArray[np.bool_]:
    store = opened(path, content)
    failed: NDArray[np.bool_] = store.read("row/status", np.arange(*store.shard_range(shard))) != Status.OK
    return failed


def write_rows(spec: ArraySpec, shard: int, values: np.ndarray, path: str, content: str, folder: str) -> str:
    """Write one shard of a derived array into the staging folder. Returns the checksums of its chunks."""
    start, _ = opened(path, content).shard_range(shard)
    target = Path(folder, spec.path, object_key(shard, len(spec.shape)))
    data, chunks = encode_shard(target.parent, spec, shard, start, values)
    partial, _ = write_aside(target, data)
    partial.replace(target)
    return chunks
