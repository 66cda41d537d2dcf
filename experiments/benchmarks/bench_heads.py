"""Minutes from a store to the answer of phase 2: four heads, five epochs, on the whole of MAESTRO's shape.

    python -m experiments.benchmarks.bench_heads --quick                 2,048 rows, every part once: 4 min (start-up dominates: goals mean nothing)
    python -m experiments.benchmarks.bench_heads                         1/16 of the rows, and 1/32 to show it is linear: 15 min
    python -m experiments.benchmarks.bench_heads --rows 455736 --parts raw,pca --work DIR    the full run: 42 GB, 45 min
    python -m experiments.benchmarks.bench_heads --rows 8192 --parts torch                   against PyTorch: 10 min
    python -m experiments.benchmarks.bench_heads --parts seeds           what 5 seeds cost over 1
    python -m experiments.benchmarks.bench_heads --rows 455736 --parts gpu                   on a GPU

The store is synthetic and its right answer known (experiments/benchmarks/synthetic_store.py): the best r is 0.60 from
audio, 0.53 from MIDI, 0.80 from both. Every measurement runs in a process of its own, which reports its peak memory. Two
ratios against PyTorch, never mixed: at equal work (same raw frames, widths, batches) and end to end (ours through PCA-128).
Expected on 2 cores at full size: ≤ 25 min on raw frames, ≤ 8 min through PCA-128 with r within 0.005, ≤ 12 GB.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from experiments.benchmarks.goal import goal_line
from experiments.benchmarks.synthetic_store import BEST_R, FULL_ROWS, SyntheticConfig, make
from experiments.features import Features, FoldData, View
from experiments.phase2 import Phase2Config
from store import open as open_store

FOUR = ("audio", "midi", "concat", "cross")
AUDIO, MIDI = "synthetic-audio", "synthetic-midi"


@dataclass(frozen=True)
class Job:
    """One measurement, in a process of its own."""

    what: str
    store: Path
    kind: str = "frames"
    heads: tuple[str, ...] = FOUR
    epochs: int = 5
    seeds: int = 1
    batch_rows: int = 256
    ranking: float = 0.1
    learning_rate: float = Phase2Config.learning_rate
    compute_dtype: str = "float32"
    pt: Path | None = None
    workers: int = 2


def run_ours(job: Job) -> dict[str, Any]:
    """The whole set as `keybed phase2` trains it: streaming, validation after each epoch, then test r."""
    from heads import FitConfig, HeadConfig, LossWeights, fit, metrics, predict

    opened = open_store(job.store)
    view = View(AUDIO, MIDI, job.kind)
    rows = opened.rows()
    begun = time.perf_counter()
    on_gpu = job.what == "gpu"
    features = Features(opened, view, rows, memory_gib=100.0 if on_gpu else 0.0)
    at = {name: np.flatnonzero(rows.split == i) for i, name in enumerate(("train", "validation", "test"))}
    data = FoldData(features, at["train"], at["validation"], job.batch_rows, len(at["train"]))
    config = FitConfig(
        epochs=job.epochs,
        batch_rows=job.batch_rows,
        seeds=tuple(range(job.seeds)),
        learning_rate=job.learning_rate,
        losses=LossWeights(ranking=job.ranking),
        patience=0,
        compute_dtype=job.compute_dtype,
        resident_bytes=None if on_gpu else 0,
    )
    heads = {k: HeadConfig(k, inputs="layers" if job.kind == "layers" else "frames") for k in job.heads}
    loaded = time.perf_counter()
    result = fit(heads, data, config)
    seconds = time.perf_counter() - loaded
    found = predict(result, features.batches(at["test"], job.batch_rows))
    score, valid = rows.score[at["test"]], rows.valid[at["test"]]
    r = {n: metrics.mean_defined(metrics.per_dimension("pearson", p[0], score, valid)) for n, p in found.items()}
    steady = [h["rows_per_s"] for h in result.history[1:]] or [result.history[0]["rows_per_s"]]
    return {
        "seconds": seconds,
        "loading_s": loaded - begun,
        "rows_per_s": float(np.mean(steady)),
        "train_rows": len(at["train"]),
        "epoch_s": [h["train_s"] for h in result.history],
        "validation_s": [h["validation_s"] for h in result.history],
        "compiled_steps": result.compiled_steps,
        "r": r,
    }


def run_torch(job: Job) -> dict[str, Any]:
    """The same heads in PyTorch."""
    import torch

    from experiments.benchmarks.torch_heads import train_heads, write_pt

    view = View(AUDIO, MIDI, job.kind)
    if job.what == "write_pt":
        assert job.pt is not None
        begun = time.perf_counter()
        write_pt(job.store, job.pt, view)
        return {"seconds": time.perf_counter() - begun}
    torch.multiprocessing.set_sharing_strategy("file_system")
    found = train_heads(job.store, job.pt, view, job.heads, job.epochs, job.batch_rows, job.workers, job.learning_rate)
    return {"seconds": sum(found.seconds.values()), "each": found.seconds, "r": found.r, "rows_per_s": found.rows_per_s}


def in_process(job: Job) -> dict[str, Any]:
    """Run a job in a fresh process; its result, with its peak memory in GB."""
    told = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(job).items()}
    command = [sys.executable, "-m", "experiments.benchmarks.bench_heads", "--job", json.dumps(told)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"})
    if done.returncode:
        raise RuntimeError(f"{job.what} failed:\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _child(text: str) -> None:
    told = json.loads(text)
    told |= {"store": Path(told["store"]), "heads": tuple(told["heads"]), "pt": told["pt"] and Path(told["pt"])}
    job = Job(**told)
    found = run_torch(job) if job.what in ("torch", "write_pt") else run_ours(job)
    # KiB on Linux; DataLoader workers are counted beside their parent
    peak = sum(resource.getrusage(w).ru_maxrss for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(json.dumps({**found, "peak_gb": peak * 1024 / 1e9}))


def goal(name: str, measured: float, target: float, kind: Literal["at least", "at most"]) -> None:
    """Print a goal's line at once."""
    print(goal_line(name, float(measured), target, kind), flush=True)


def told(name: str, found: dict[str, Any]) -> None:
    """One measurement's line."""
    r = " ".join(f"{k} {v:.3f}" for k, v in found["r"].items())
    print(
        f"{name:34s} {found['seconds']:8.1f} s  {found['rows_per_s']:8,.0f} rows/s  {found['peak_gb']:5.2f} GB  r {r}",
        flush=True,
    )


def at_full_size(found: dict[str, Any], share: float) -> float:
    """Seconds at full size: what does not grow (compiling, the first batches) once, the later epochs' rate for all rows."""
    epochs = len(found["epoch_s"])
    steady = float(np.mean(found["epoch_s"][1:]) + np.mean(found["validation_s"][1:]))
    return found["seconds"] - epochs * steady + epochs * steady / share


def whole_set(path: Path, parts: set[str], full_share: float, half: Path | None) -> dict[str, Any]:
    """(a): raw frames and the derived view; times at this size, and what they make of the full one."""
    found = {}
    for part, kind, minutes in (("raw", "frames", 25.0), ("pca", "pca128", 8.0)):
        if part not in parts:
            continue
        found[part] = in_process(Job("ours", path, kind))
        told(f"(a) four heads, 5 epochs, {kind}", found[part])
        scaled = at_full_size(found[part], full_share) / 60
        print(f"    minutes at {FULL_ROWS:,} rows are scaled up from {full_share:.3f} of them")
        goal(f"{kind} minutes at full size", scaled, minutes, "at most")
        goal(f"{kind} peak memory GB", found[part]["peak_gb"], 12, "at most")
        if half is not None:
            small = in_process(Job("ours", half, kind))
            ratio = np.mean(found[part]["epoch_s"][1:]) / np.mean(small["epoch_s"][1:])
            rows = found[part]["train_rows"] / small["train_rows"]
            print(f"    {rows:.2f} × the rows take {ratio:.2f} × the time of an epoch")
            goal(f"{kind} off linear", abs(ratio / rows - 1), 0.15, "at most")
    if {"raw", "pca"} <= found.keys():
        apart = max(abs(found["raw"]["r"][h] - found["pca"]["r"][h]) for h in FOUR)
        goal("r through pca128 off raw", apart, 0.005, "at most")
    if "pooled" in parts:
        for head in FOUR:
            pooled = in_process(Job("ours", path, "layers", heads=(head,)))
            told(f"(a) {head} alone, pooled view", pooled)
            scaled = at_full_size(pooled, full_share)
            goal(f"{head} on the pooled view seconds at full size", scaled, 90, "at most")
    return found


def against_torch(path: Path, work: Path, workers: int, epochs: int, deriving_s: float) -> None:
    """(b): the same four heads in PyTorch, from the same store and from one `.pt` file a row.

    What is made once for all runs is not counted, neither the derived view nor the files; a line says what it took.
    """
    pt = work / "pt"
    writing_s = in_process(Job("write_pt", path, pt=pt))["seconds"]
    raw = in_process(Job("ours", path, ranking=0.0, epochs=epochs))
    pca = in_process(Job("ours", path, "pca128", ranking=0.0, epochs=epochs))
    from_store = in_process(Job("torch", path, workers=workers, epochs=epochs))
    from_pt = in_process(Job("torch", path, pt=pt, workers=workers, epochs=epochs))
    for name, one in (
        ("JAX, raw frames", raw),
        ("JAX, pca128", pca),
        ("PyTorch, store", from_store),
        ("PyTorch, .pt files", from_pt),
    ):
        told(f"(b) {name}", one)
    for name, ours, equal, end in (("store", raw, 1.5, 5.0), (".pt files", raw, 4.0, 15.0)):
        theirs = from_store if name == "store" else from_pt
        ratio, whole = theirs["seconds"] / ours["seconds"], theirs["seconds"] / pca["seconds"]
        goal(f"times faster at equal work than PyTorch from {name}", ratio, equal, "at least")
        goal(f"times faster end to end than PyTorch from {name}", whole, end, "at least")
    once = (
        from_store["seconds"] / (pca["seconds"] + deriving_s),
        (from_pt["seconds"] + writing_s) / (pca["seconds"] + deriving_s),
    )
    print(
        f"    made once: the derived view in {deriving_s:.0f} s, the .pt files in {writing_s:.0f} s; a single run that pays "
        f"for them is {once[0]:.1f} and {once[1]:.1f} times faster end to end"
    )
    apart = abs(np.mean(list(pca["r"].values())) - np.mean(list(from_store["r"].values())))
    goal("mean r off PyTorch", apart, 0.005, "at most")


def five_seeds(path: Path) -> None:
    """What four more seeds cost."""
    one, five = (in_process(Job("ours", path, "pca128", epochs=3, seeds=s)) for s in (1, 5))
    ratio = np.mean(five["epoch_s"][1:]) / np.mean(one["epoch_s"][1:])
    goal("cost of 5 seeds over one", ratio, 3.7, "at most")


def on_gpu(path: Path) -> None:
    """(c): the whole set, 5 seeds, data on the device."""
    for dtype in ("float32", "bfloat16"):
        found = in_process(Job("gpu", path, "pca128", seeds=5, compute_dtype=dtype))
        told(f"(c) 5 seeds, {dtype}", found)
        print(f"    loading from the store took {found['loading_s']:.0f} s; epochs {found['epoch_s']}")
        goal(f"5 seeds {dtype} seconds after loading", found["seconds"], 60, "at most")


def derive_views(path: Path) -> float:
    """The PCA-128 view; seconds that it took."""
    from store.derive import DeriveConfig, derive

    begun = time.perf_counter()
    derive(DeriveConfig(path, pca=128, int8=False))
    seconds = time.perf_counter() - begun
    print(f"derived views of {path.name}: {seconds:.0f} s", flush=True)
    return seconds


def main() -> None:
    """The command in the docstring."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=FULL_ROWS // 16)
    parser.add_argument("--parts", default="raw,pca,pooled,seeds,torch", help="raw, pca, pooled, seeds, torch, gpu")
    parser.add_argument("--work", type=Path, help="where stores are made and kept; default: a folder that is removed")
    parser.add_argument("--epochs", type=int, default=2, help="epochs of the comparison with PyTorch")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.job:
        return _child(given.job)
    rows, parts = (2048 if given.quick else given.rows), set(given.parts.split(","))
    with tempfile.TemporaryDirectory(prefix="keybed-heads-") as folder:
        work = given.work or Path(folder)
        path, half = work / f"rows-{rows}", work / f"rows-{rows // 2}"
        begun = time.perf_counter()
        make(SyntheticConfig(path, rows))
        print(f"synthetic store of {rows:,} rows: {time.perf_counter() - begun:.0f} s; best r {BEST_R}", flush=True)
        deriving_s = derive_views(path) if parts - {"raw", "pooled"} else 0.0
        check_linear = rows <= FULL_ROWS // 8 and not given.quick
        if check_linear and parts & {"raw", "pca"}:
            make(SyntheticConfig(half, rows // 2))
            derive_views(half)
        if parts & {"raw", "pca", "pooled"}:
            whole_set(path, parts, rows / FULL_ROWS, half if check_linear else None)
        if "seeds" in parts:
            five_seeds(path)
        if "torch" in parts:
            against_torch(path, work, given.workers, given.epochs, deriving_s)
        if "gpu" in parts:
            on_gpu(path)
    return None


if __name__ == "__main__":
    main()
