"""Reading speed of a training epoch, against other storage formats and readers.

    python -m keybed.experiments.benchmarks.bench_store                     1.5 GB, 15 min
    python -m keybed.experiments.benchmarks.bench_store --quick             0.2 GB, 1 min
    python -m keybed.experiments.benchmarks.bench_store --source STORE      the frames of a finished store instead of synthetic ones

Measured: a shuffled epoch over the frames of one audio and one MIDI encoder with this store, with zarr-python's own
pipeline on the same files (the same shuffle), tensorstore, np.memmap, HDF5, and with one `.pt` file per row. Every
contender gives batches of 256 rows in memory, in file order and shuffled, from a
warm page cache, in a process of its own, by turns; the fastest of three epochs counts. memmap and HDF5 shuffle blocks
of two shards as the store does. Then chunks, shards and compressors are compared. Goals: a shuffled epoch at ≥ 80 %
of the fastest sequential Zarr reader, ≥ 1.5 × zarr-python's default, ≥ 6 × one file per row, ≤ 1.5 GB of extra memory.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from keybed import store
from keybed.experiments.benchmarks import placeholder_store, synthetic_features
from keybed.experiments.goal import goal_line

BATCH_ROWS = 256
SHARE_OF_FASTEST_ZARR = 0.8
TIMES_ZARR_PYTHON = 1.5
TIMES_ONE_FILE_PER_ROW = 6.0
EXTRA_MEMORY_BYTES = 1.5e9
CONTENDERS = ("ours", "zarr-python", "zarrs", "tensorstore", "memmap", "hdf5", "pt")
ZARR_READERS = ("zarr-python", "zarrs", "tensorstore")


@dataclass(frozen=True)
class Config:
    """rows: of synthetic data. pt_rows: how many of them are also written as one file per row."""

    rows: int = 16_384
    pt_rows: int = 8_192
    epochs: int = 3
    source: Path | None = None
    folder: Path | None = None


@dataclass(frozen=True)
class Speed:
    """The fastest of a contender's epochs, and the peak growth of its process in bytes."""

    contender: str
    order: str
    rows: int
    bytes: int
    seconds: float
    cpu_seconds: float
    extra_bytes: int

    @property
    def rows_per_s(self) -> float:
        """Rows per second."""
        return self.rows / self.seconds


def prepare(config: Config, folder: Path) -> Path:
    """Make the store, and from its frames the files of the other contenders. Returns the store's path."""
    path = config.source or folder / "STORE"
    if config.source is None:
        opened = placeholder_store.create(
            path, placeholder_store.recipe(config.rows, 1024 if config.rows >= 8192 else 256)
        )
        placeholder_store.fill(opened, range(opened.n_shards))
    opened = store.open(path)
    features = [feature for feature in opened.features if feature.endswith("/frames") and "derived" not in feature][:2]
    description = {"store": str(path), "features": features, "rows": opened.n_rows, "shard_rows": opened.shard_rows}
    (folder / "about.json").write_text(json.dumps(description))
    _write_others(opened, features, folder, min(config.pt_rows, opened.n_rows))
    return path


def _write_others(opened: store.Store, features: list[str], folder: Path, pt_rows: int) -> None:
    import h5py
    import torch

    pt = folder / "pt"
    pt.mkdir()
    with h5py.File(folder / "frames.h5", "w") as h5:
        for number, feature in enumerate(features):
            shape = opened.array(feature).shape
            flat = np.lib.format.open_memmap(folder / f"{number}.npy", "w+", np.float16, shape)
            chunk = (min(256, opened.shard_rows), *shape[1:])
            dataset = h5.create_dataset(str(number), shape, np.float16, chunks=chunk)
            for shard in range(opened.n_shards):
                start, stop = opened.shard_range(shard)
                flat[start:stop] = dataset[start:stop] = opened.read(feature, np.arange(start, stop))
            flat.flush()
    for start in range(0, pt_rows, 1024):
        rows = np.arange(start, min(start + 1024, pt_rows))
        parts = [opened.read(feature, rows) for feature in features]
        for at, row in enumerate(rows):
            torch.save({str(n): torch.from_numpy(part[at].copy()) for n, part in enumerate(parts)}, pt / f"{row}.pt")


def measure(config: Config, folder: Path) -> list[Speed]:
    """Time every contender in both orders, by turns, in fresh processes."""
    best: dict[tuple[str, str], Speed] = {}
    for _ in range(config.epochs):
        for contender in CONTENDERS:
            for order in ("sequential", "shuffled"):
                command = [
                    sys.executable,
                    "-m",
                    "keybed.experiments.benchmarks.store_contenders",
                    str(folder),
                    contender,
                    order,
                ]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode:
                    raise RuntimeError(f"{contender}, {order}: {done.stderr[-2000:]}")
                speed = Speed(contender, order, **json.loads(done.stdout))
                before = best.get((contender, order))
                if before is None or speed.seconds < before.seconds:
                    best[contender, order] = speed
    return list(best.values())


def table_of(speeds: list[Speed]) -> Table:
    """One line per contender and order."""
    table = Table("reader", "epoch", "MB/s", "rows/s", "CPU s/GB", "extra MB", box=None)
    for s in sorted(speeds, key=lambda s: (CONTENDERS.index(s.contender), s.order)):
        megabytes = s.bytes / s.seconds / 1e6
        cpu, extra = f"{s.cpu_seconds / s.bytes * 1e9:.2f}", f"{s.extra_bytes / 1e6:,.0f}"
        table.add_row(s.contender, s.order, f"{megabytes:,.0f}", f"{s.rows_per_s:,.0f}", cpu, extra)
    return table


def goals(speeds: list[Speed]) -> list[str]:
    """One line per goal."""
    rate = {(s.contender, s.order): s.rows_per_s for s in speeds}
    ours = rate["ours", "shuffled"]
    fastest = max(ZARR_READERS, key=lambda name: rate[name, "sequential"])
    extra = next(s.extra_bytes for s in speeds if (s.contender, s.order) == ("ours", "shuffled"))
    return [
        goal_line(
            f"shuffled over {fastest} sequential", ours / rate[fastest, "sequential"], SHARE_OF_FASTEST_ZARR, "at least"
        ),
        goal_line(
            "shuffled over zarr-python shuffled", ours / rate["zarr-python", "shuffled"], TIMES_ZARR_PYTHON, "at least"
        ),
        goal_line(
            "shuffled over one pt file per row", ours / rate["pt", "shuffled"], TIMES_ONE_FILE_PER_ROW, "at least"
        ),
        goal_line("extra memory GB", extra / 1e9, EXTRA_MEMORY_BYTES / 1e9, "at most"),
    ]


def layout_trial(folder: Path, quick: bool, source: Path | None) -> Table:
    """Write frames with other chunks, shards and compressors: bytes on disk, speed of writing and of reading whole shards."""
    from keybed.experiments.benchmarks.store_layouts import try_layouts

    n_rows = 2048 if quick else 8192
    if source is None:
        values = np.concatenate([synthetic_features.frames(seed, 1024) for seed in range(n_rows // 1024)])
        states = synthetic_features.layers(0, n_rows // 4)
    else:
        opened = store.open(source)
        n_rows = min(n_rows, opened.n_rows)
        rows = np.arange(n_rows // 1024 * 1024 or n_rows)  # whole shards
        first = next(path for path in opened.features if path.endswith("/frames"))
        values = opened.read(first, rows)
        states = opened.read(first.removesuffix("frames") + "layers", rows)
    return try_layouts(folder, values, states, quick)


def main() -> None:
    """Run everything and print tables and goals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="little data, one epoch, to see that it runs")
    parser.add_argument("--source", type=Path, help="a finished store whose frames to use")
    parser.add_argument("--folder", type=Path, help="where to put 6 GB of files (default: the temporary folder)")
    parser.add_argument("--no-layouts", action="store_true", help="leave the trial of chunks and compressors out")
    given = parser.parse_args()
    config = Config(2048, 1024, 1, given.source, given.folder) if given.quick else Config(source=given.source)
    console = Console(width=120, highlight=False)
    folder = Path(tempfile.mkdtemp(prefix="bench-store-", dir=given.folder))
    try:
        prepare(config, folder)
        speeds = measure(config, folder)
        what = f"features of {config.source}" if config.source else "synthetic features"
        console.print(f"{what}: {', '.join(json.loads((folder / 'about.json').read_text())['features'])}")
        console.print(table_of(speeds))
        if not given.no_layouts:
            console.print(layout_trial(folder, given.quick, given.source))
        console.print("\n".join(goals(speeds)))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
