"""What the checks of a store cost when it is opened and read: every file against the plan or its commit.

    python -m keybed.experiments.benchmarks.store_checks           0.4 GB, 2 min

Measured from a warm page cache, processor seconds, the fastest of three: opening a store with the row columns of 460K rows in
449 shards, its first `rows()`, and the first read of all frames and layers of two 768-wide encoders in 2 shards of 1024 rows.
Readers compare each chunk with the crc32c that its commit lists; "whole files" is what commits of version 0.1 need, a
sha256 of each file; "no check" leaves every comparison out.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np

from keybed import store
from keybed.experiments.benchmarks import placeholder_store
from keybed.store.disk.planned_files import PlannedFiles
from keybed.store.read.committed import CommittedShards

COLUMN_ROWS, FEATURE_ROWS, SHARD_ROWS = 459_776, 2_048, 1_024
REPEATS = 3


def seconds(work: Callable[[], object]) -> float:
    """Processor seconds of all threads, the fastest of REPEATS."""
    spent = []
    for _ in range(REPEATS):
        began = time.process_time()
        work()
        spent.append(time.process_time() - began)
    return min(spent)


def made(path: Path, n_rows: int, n_encoders: int) -> Path:
    """A finished store with synthetic content."""
    opened = placeholder_store.create(path, placeholder_store.recipe(n_rows, SHARD_ROWS, n_encoders))
    placeholder_store.fill(opened, range(opened.n_shards))
    return path


def read_features(path: Path) -> None:
    """Open the store and read all of its features, shard by shard."""
    opened = store.open(path)
    for feature in opened.features:
        for shard in range(opened.n_shards):
            opened.read(feature, np.arange(*opened.shard_range(shard)))


def forget_chunks(path: Path) -> None:
    """Make the commits those of version 0.1, without checksums of chunks."""
    for file in (path / "commits").glob("0*.json"):
        commit = json.loads(file.read_bytes())
        commit.pop("sha256")
        commit.pop("inputs")
        for entry in commit["objects"].values():
            entry.pop("chunks", None)
        file.write_text(json.dumps(commit))


def main() -> None:
    """Print one line per measure."""
    with tempfile.TemporaryDirectory(prefix="keybed-checks-") as folder:
        with mock.patch.object(os, "fsync"):  # only reading is measured
            columns = made(Path(folder, "columns"), COLUMN_ROWS, 0)
            features = made(Path(folder, "features"), FEATURE_ROWS, 2)
        n_bytes = sum(file.stat().st_size for file in (features / "features.zarr").rglob("c.*"))
        checked = {
            "open": seconds(lambda: store.open(columns)),
            "first rows()": seconds(lambda: store.open(columns).rows()),
            f"features, {n_bytes / 1e9:.2f} GB, by chunks": seconds(lambda: read_features(features)),
        }
        forget_chunks(features)
        checked["the same, whole files"] = seconds(lambda: read_features(features))
        with (
            mock.patch.object(CommittedShards, "check_file", return_value=None),
            mock.patch.object(PlannedFiles, "check", return_value=None),
        ):
            unchecked = {
                "open, no check": seconds(lambda: store.open(columns)),
                "first rows(), no check": seconds(lambda: store.open(columns).rows()),
                "features, no check": seconds(lambda: read_features(features)),
            }
    for what, spent in {**checked, **unchecked}.items():
        print(f"{what:>34}: {spent:8.3f} s")


if __name__ == "__main__":
    main()
