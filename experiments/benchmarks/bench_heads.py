"""Minutes from a store to the results of phase 2: four heads, five epochs, on arrays with the shape of all of MAESTRO.

    python -m keybed.experiments.benchmarks.bench_heads --quick                 2,048 rows, every part once: 5 min (mostly start-up: ignore the goals)
    python -m keybed.experiments.benchmarks.bench_heads                         1/16 of the rows, and 1/32 to check linearity: about 25 min (estimated)
    python -m keybed.experiments.benchmarks.bench_heads --parts seeds,torch     5 seeds against 1, and PyTorch: 15 min
    python -m keybed.experiments.benchmarks.bench_heads --rows 455736 --parts raw,pca --work DIR    the full run: 42 GB, 45 min
    python -m keybed.experiments.benchmarks.bench_heads --rows 455736 --parts gpu                   on a GPU, 4.7 GB

The store is synthetic with a known best r (experiments/benchmarks/synthetic_store.py): 0.60 from audio, 0.53 from MIDI,
0.80 from both. Every measurement runs in its own process, which reports its peak memory. Two ratios against PyTorch,
reported apart: at equal work (same raw frames, widths, batches) and end to end (Keybed through PCA-128).
Expected on 2 cores at full size: ≤ 25 min on raw frames, ≤ 8 min through PCA-128 with r within 0.005, ≤ 12 GB.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from keybed.experiments.benchmarks.heads_against_torch import against_torch
from keybed.experiments.benchmarks.heads_jobs import FOUR, Job, goal, in_process, print_run
from keybed.experiments.benchmarks.heads_on_gpu import on_gpu
from keybed.experiments.benchmarks.synthetic_store import BEST_R, FULL_ROWS, SyntheticConfig, make


def at_full_size(run: dict[str, Any], share: float) -> float:
    """Estimated seconds at full size: fixed costs (compiling, first batches) once, later epochs' time divided by `share`."""
    epochs = len(run["epoch_s"])
    steady = float(np.mean(run["epoch_s"][1:]) + np.mean(run["validation_s"][1:]))
    return run["seconds"] - epochs * steady + epochs * steady / share


def whole_set(path: Path, parts: set[str], full_share: float, half: Path | None) -> dict[str, Any]:
    """(a): raw frames and the derived view; times at this size, and estimates for the full size."""
    runs = {}
    for part, kind, minutes in (("raw", "frames", 25.0), ("pca", "pca128", 8.0)):
        if part not in parts:
            continue
        runs[part] = in_process(Job("ours", path, kind))
        print_run(f"(a) four heads, 5 epochs, {kind}", runs[part])
        scaled = at_full_size(runs[part], full_share) / 60
        print(f"    minutes at {FULL_ROWS:,} rows are scaled up from {full_share:.3f} of them")
        goal(f"{kind} minutes at full size", scaled, minutes, "at most")
        goal(f"{kind} peak memory GB", runs[part]["peak_gb"], 12, "at most")
        if half is not None:
            small = in_process(Job("ours", half, kind))
            ratio = np.mean(runs[part]["epoch_s"][1:]) / np.mean(small["epoch_s"][1:])
            rows = runs[part]["train_rows"] / small["train_rows"]
            print(f"    {rows:.2f} × the rows take {ratio:.2f} × the time of an epoch")
            goal(f"{kind} off linear", abs(ratio / rows - 1), 0.15, "at most")
    if {"raw", "pca"} <= runs.keys():
        apart = max(abs(runs["raw"]["r"][h] - runs["pca"]["r"][h]) for h in FOUR)
        goal("r through pca128 off raw", apart, 0.005, "at most")
    if "pooled" in parts:
        for head in FOUR:
            pooled = in_process(Job("ours", path, "pooled", heads=(head,)))
            print_run(f"(a) {head} alone, pooled view", pooled)
            scaled = at_full_size(pooled, full_share)
            goal(f"{head} on the pooled view seconds at full size", scaled, 90, "at most")
    return runs


def five_seeds(path: Path) -> None:
    """Time of an epoch with five seeds over that with one."""
    one, five = (in_process(Job("ours", path, "pca128", epochs=3, seeds=s)) for s in (1, 5))
    ratio = np.mean(five["epoch_s"][1:]) / np.mean(one["epoch_s"][1:])
    goal("cost of 5 seeds over one", ratio, 3.7, "at most")


def derive_views(path: Path) -> float:
    """Derive the PCA-128 view; returns the seconds it took."""
    from keybed.store.derive.derive import DeriveConfig, derive

    start = time.perf_counter()
    derive(DeriveConfig(path, pca=128, int8=False))
    seconds = time.perf_counter() - start
    print(f"derived views of {path.name}: {seconds:.0f} s", flush=True)
    return seconds


def main() -> None:
    """Run the command of the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=FULL_ROWS // 16)
    parser.add_argument("--parts", default="raw,pca,pooled,seeds,torch", help="raw, pca, pooled, seeds, torch, gpu")
    parser.add_argument("--work", type=Path, help="folder where stores are kept; default: a temporary folder")
    parser.add_argument("--epochs", type=int, default=5, help="epochs of the comparison with PyTorch")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    rows, parts = (2048 if arguments.quick else arguments.rows), set(arguments.parts.split(","))
    with tempfile.TemporaryDirectory(prefix="keybed-heads-") as folder:
        work = arguments.work or Path(folder)
        if parts - {"gpu"}:
            on_cpu(work, rows, parts, 1 if arguments.quick else arguments.epochs, check_linear=not arguments.quick)
        if "gpu" in parts:
            on_gpu(work, rows)


def on_cpu(work: Path, rows: int, parts: set[str], epochs: int, *, check_linear: bool) -> None:
    """All parts except gpu."""
    path, half = work / f"rows-{rows}", work / f"rows-{rows // 2}"
    start = time.perf_counter()
    make(SyntheticConfig(path, rows))
    print(f"synthetic store of {rows:,} rows: {time.perf_counter() - start:.0f} s; best r {BEST_R}", flush=True)
    derive_s = derive_views(path) if parts & {"pca", "pooled", "seeds", "torch"} else 0.0
    check_linear = check_linear and rows <= FULL_ROWS // 8
    if check_linear and parts & {"raw", "pca"}:
        make(SyntheticConfig(half, rows // 2))
        derive_views(half)
    if parts & {"raw", "pca", "pooled"}:
        whole_set(path, parts, rows / FULL_ROWS, half if check_linear else None)
    if "seeds" in parts:
        five_seeds(path)
    if "torch" in parts:
        against_torch(path, work, epochs, derive_s)


if __name__ == "__main__":
    main()
