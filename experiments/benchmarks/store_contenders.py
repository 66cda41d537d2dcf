"""One contender of bench_store in a process of its own: read an epoch twice and print the second one's time as JSON.

store_contenders.py FOLDER CONTENDER sequential|shuffled
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

BATCH_ROWS = 256
SHARDS_TOGETHER = 2

Block = Callable[[int, int], list[np.ndarray]]


def batches_of(folder: Path, contender: str, order: str, seed: int) -> Iterator[list[np.ndarray]]:
    """Batches of every feature, as arrays of BATCH_ROWS rows that the caller may keep."""
    description = json.loads((folder / "about.json").read_text())
    if contender == "ours":
        yield from _ours(description, order, seed)
    elif contender == "pt":
        yield from _one_file_per_row(folder, order, seed)
    else:
        block = _READERS[contender](folder, description)
        together = description["shard_rows"] * (SHARDS_TOGETHER if order == "shuffled" else 1)
        yield from _blocks(block, description["rows"], together, order, seed)


def _blocks(block: Block, n_rows: int, together: int, order: str, seed: int) -> Iterator[list[np.ndarray]]:
    random = np.random.default_rng(seed)
    starts = np.arange(0, n_rows, together)
    for start in random.permutation(starts) if order == "shuffled" else starts:
        parts = block(int(start), int(min(start + together, n_rows)))
        within = random.permutation(len(parts[0]))
        for at in range(0, len(within), BATCH_ROWS):
            chosen: Any = within[at : at + BATCH_ROWS] if order == "shuffled" else slice(at, at + BATCH_ROWS)
            yield [part[chosen] for part in parts]


def _ours(description: dict[str, Any], order: str, seed: int) -> Iterator[list[np.ndarray]]:
    from keybed import store

    opened = store.open(description["store"])
    rows = opened.rows(status=None)
    stream = opened.batches(description["features"], rows, BATCH_ROWS, seed=seed if order == "shuffled" else None)
    for batch in stream:
        yield list(batch.features.values())


def _zarr(description: dict[str, Any], pipeline: str) -> Block:
    import zarr

    with zarr.config.set({"codec_pipeline.path": pipeline}):
        group = zarr.open_group(Path(description["store"], "features.zarr"), mode="r")
        opened: list[Any] = [group[feature] for feature in description["features"]]
    return lambda start, stop: [array[start:stop] for array in opened]


def _zarr_python(folder: Path, description: dict[str, Any]) -> Block:
    return _zarr(description, "zarr.core.codec_pipeline.BatchedCodecPipeline")


def _zarrs(folder: Path, description: dict[str, Any]) -> Block:
    import zarrs  # noqa: F401  registers the pipeline

    return _zarr(description, "zarrs.ZarrsCodecPipeline")


def _tensorstore(folder: Path, description: dict[str, Any]) -> Block:
    import tensorstore

    paths = [Path(description["store"], "features.zarr", feature) for feature in description["features"]]
    specs = [{"driver": "zarr3", "kvstore": {"driver": "file", "path": str(path)}} for path in paths]
    opened = [tensorstore.open(spec, read=True).result() for spec in specs]

    def block(start: int, stop: int) -> list[np.ndarray]:
        coming = [array[start:stop].read() for array in opened]
        return [part.result() for part in coming]

    return block


def _memmap(folder: Path, description: dict[str, Any]) -> Block:
    opened = [np.load(folder / f"{number}.npy", mmap_mode="r") for number in range(len(description["features"]))]
    return lambda start, stop: [np.array(array[start:stop]) for array in opened]


def _hdf5(folder: Path, description: dict[str, Any]) -> Block:
    import h5py

    file = h5py.File(folder / "frames.h5", "r")
    return lambda start, stop: [file[str(number)][start:stop] for number in range(len(description["features"]))]


_READERS: dict[str, Callable[[Path, dict[str, Any]], Block]] = {
    "zarr-python": _zarr_python,
    "zarrs": _zarrs,
    "tensorstore": _tensorstore,
    "memmap": _memmap,
    "hdf5": _hdf5,
}


_MODULES = {
    "ours": ("store", "zarr", "numcodecs", "dask"),
    "zarr-python": ("zarr",),
    "zarrs": ("zarr", "zarrs"),
    "tensorstore": ("tensorstore",),
    "memmap": (),
    "hdf5": ("h5py",),
    "pt": ("torch",),
}


def _one_file_per_row(folder: Path, order: str, seed: int) -> Iterator[list[np.ndarray]]:
    import torch

    n_rows = sum(1 for _ in (folder / "pt").iterdir())
    rows = np.random.default_rng(seed).permutation(n_rows) if order == "shuffled" else np.arange(n_rows)
    for at in range(0, n_rows, BATCH_ROWS):
        items = [torch.load(folder / "pt" / f"{row}.pt", weights_only=True) for row in rows[at : at + BATCH_ROWS]]
        yield [torch.stack([item[name] for item in items]).numpy() for name in items[0]]


def main(folder: str, contender: str, order: str) -> None:
    """Read one epoch to warm caches and buffers, then one that is timed."""
    for module in _MODULES[contender]:
        import_module(module)
    base = _status_bytes("VmRSS")
    cpu = begun = n_rows = n_bytes = 0.0
    for seed in (1, 2):
        n_rows = n_bytes = 0
        begun, cpu = time.perf_counter(), time.process_time()
        for batch in batches_of(Path(folder), contender, order, seed):
            n_rows += len(batch[0])
            n_bytes += sum(part.nbytes for part in batch)
    result = {"rows": n_rows, "bytes": n_bytes, "seconds": time.perf_counter() - begun}
    peak = _status_bytes("VmHWM")  # getrusage would count the parent's memory at the fork
    print(json.dumps({**result, "cpu_seconds": time.process_time() - cpu, "extra_bytes": peak - base}))


def _status_bytes(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) * 1024


if __name__ == "__main__":
    main(*sys.argv[1:])
