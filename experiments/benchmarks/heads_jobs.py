"""One measurement of `bench_heads` in a process of its own: ours, or the same heads in PyTorch. Reports its peak memory.

python -m keybed.experiments.benchmarks.heads_jobs '{"what": "ours", "store": "STORE", …}'      prints one line of JSON
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from keybed.experiments.goal import goal_line

FOUR = ("audio", "midi", "concat", "cross")
AUDIO, MIDI = "synthetic-audio", "synthetic-midi"
_KEEP_MEMORY = {"MALLOC_TRIM_THRESHOLD_": str(2**31 - 1), "MALLOC_MMAP_THRESHOLD_": str(2**30)}
"""What `keybed.heads.xla` tells glibc for ours, told for PyTorch as well."""


@dataclass(frozen=True)
class Job:
    """What to measure. kind: a View's. pt: a folder of `.pt` files.

    resident: data on the device, epochs by scan; None: where `fit` by itself finds them small enough (1 GB on a CPU).
    """

    what: Literal["ours", "torch", "write_pt"]
    store: Path
    kind: str = "frames"
    heads: tuple[str, ...] = FOUR
    epochs: int = 5
    seeds: int = 1
    batch_rows: int = 256
    ranking: float = 0.1
    learning_rate: float = 3e-3
    compute_dtype: str = "float32"
    resident: bool | None = False
    pt: Path | None = None
    workers: int = 2


def in_process(job: Job) -> dict[str, Any]:
    """Run a job in a fresh process; its result, with its peak memory in GB."""
    told = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(job).items()}
    command = [sys.executable, "-m", "keybed.experiments.benchmarks.heads_jobs", json.dumps(told)]
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"} | ({} if job.what == "ours" else _KEEP_MEMORY)
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"{job.what} failed:\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def run_ours(job: Job) -> dict[str, Any]:
    """The whole set as `keybed phase2` trains it, validation after each epoch, then test r."""
    from keybed.experiments.data.features import Features
    from keybed.experiments.data.fold_data import FoldData
    from keybed.experiments.data.view import View
    from keybed.experiments.evaluation.cross_validation import head_configs
    from keybed.heads import FitConfig, HeadConfig, LossWeights, fit, metrics, predict
    from keybed.store import open as open_store

    opened = open_store(job.store)
    rows = opened.rows()
    # resident rows go to the device batch by batch, and are never held here
    view = View(AUDIO, MIDI, job.kind)
    features = Features(opened, view, rows, memory_gib=0.0)
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
        resident_bytes={True: 2**50, False: 0, None: None}[job.resident],
    )
    heads = head_configs(job.heads, HeadConfig.hidden, view.inputs)
    begun = time.perf_counter()
    result = fit(heads, data, config)
    seconds = time.perf_counter() - begun
    found = predict(result, features.batches(at["test"], job.batch_rows))
    score, valid = rows.score[at["test"]], rows.valid[at["test"]]
    r = {n: metrics.mean_defined(metrics.per_dimension("pearson", p[0], score, valid)) for n, p in found.items()}
    steady = [h["rows_per_s"] for h in result.history[1:]] or [result.history[0]["rows_per_s"]]
    return {
        "seconds": seconds,
        "resident": result.history[0]["resident"],
        "loading_s": result.history[0]["loading_s"],
        "rows_per_s": float(np.mean(steady)),
        "train_rows": len(at["train"]),
        "epoch_s": [h["train_s"] for h in result.history],
        "validation_s": [h["validation_s"] for h in result.history],
        "compiled_steps": result.compiled_steps,
        "r": r,
    }


def run_torch(job: Job) -> dict[str, Any]:
    """The same heads in PyTorch, or the files that they read."""
    from keybed.experiments.benchmarks.torch_heads import Source, TorchConfig, train_heads, write_pt

    frames = (("audio", f"audio/{AUDIO}/frames"), ("midi", f"midi/{MIDI}/frames"))
    source = Source(job.store, frames, f"midi/{MIDI}/mask", job.pt)
    begun = time.perf_counter()
    if job.what == "write_pt":
        write_pt(source)
        return {"seconds": time.perf_counter() - begun}
    found = train_heads(source, job.heads, TorchConfig(job.epochs, job.batch_rows, job.learning_rate, job.workers))
    return {"seconds": sum(found.seconds.values()), "each": found.seconds, "r": found.r, "rows_per_s": found.rows_per_s}


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


def _child(text: str) -> None:
    given = json.loads(text)
    given |= {"store": Path(given["store"]), "heads": tuple(given["heads"]), "pt": given["pt"] and Path(given["pt"])}
    job = Job(**given)
    found = run_ours(job) if job.what == "ours" else run_torch(job)
    # KiB on Linux; of a loader's workers the largest is known, and they are alike
    own, worker = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    peak = own + (worker * job.workers if job.what == "torch" else 0)
    print(json.dumps({**found, "peak_gb": peak * 1024 / 1e9}))


if __name__ == "__main__":
    _child(sys.argv[1])
