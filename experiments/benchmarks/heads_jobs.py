"""One measurement of `bench_heads` in its own process: Keybed's heads, or the same heads in PyTorch. Reports peak memory.

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
"""The malloc settings of `keybed.heads.xla`, as environment variables for PyTorch's process."""


@dataclass(frozen=True)
class Job:
    """What to measure. kind: kind of the View. pt: folder of `.pt` files. workers: of PyTorch's DataLoader.

    resident: training data on the device, an epoch is a scan; None: `fit` decides by size (limit 1 GB on a CPU).
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


def in_process(job: Job, **variables: str) -> dict[str, Any]:
    """Run a job in a new process. Returns its result with `peak_gb`; raises RuntimeError with the end of its stderr.

    variables: environment variables beside this process's own.
    """
    fields = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(job).items()}
    command = [sys.executable, "-m", "keybed.experiments.benchmarks.heads_jobs", json.dumps(fields)]
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"} | ({} if job.what == "ours" else _KEEP_MEMORY)
    environment |= variables
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"{job.what} failed:\n{done.stderr[-3000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def run_ours(job: Job) -> dict[str, Any]:
    """Train the heads as `keybed phase2` does, with validation after each epoch, then measure test r."""
    from keybed.experiments.data.features import Features
    from keybed.experiments.data.fold_data import FoldData
    from keybed.experiments.data.view import View
    from keybed.experiments.evaluation.cross_validation import Budget, head_configs
    from keybed.heads import FitConfig, LossWeights, fit, metrics, predict
    from keybed.store import open as open_store

    opened = open_store(job.store)
    rows = opened.rows()
    # resident rows go to the device batch by batch; the host does not hold them
    view = View(AUDIO, MIDI, job.kind)
    features = Features(opened, view, rows, memory_gib=0.0)
    positions = {name: np.flatnonzero(rows.split == i) for i, name in enumerate(("train", "validation", "test"))}
    data = FoldData(features, positions["train"], positions["validation"], job.batch_rows, len(positions["train"]))
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
    heads = head_configs(job.heads, Budget(), view.inputs)
    start = time.perf_counter()
    result = fit(heads, data, config)
    seconds = time.perf_counter() - start
    predictions = predict(result, features.batches(positions["test"], job.batch_rows))
    score, valid = rows.score[positions["test"]], rows.valid[positions["test"]]
    r = {n: metrics.mean_defined(metrics.per_dimension("pearson", p[0], score, valid)) for n, p in predictions.items()}
    steady = [h["rows_per_s"] for h in result.history[1:]] or [result.history[0]["rows_per_s"]]
    return {
        "seconds": seconds,
        "resident": result.history[0]["resident"],
        "loading_s": result.history[0]["loading_s"],
        "rows_per_s": float(np.mean(steady)),
        "train_rows": len(positions["train"]),
        "epoch_s": [h["train_s"] for h in result.history],
        "validation_s": [h["validation_s"] for h in result.history],
        "compiled_steps": result.compiled_steps,
        "r": r,
    }


def run_torch(job: Job) -> dict[str, Any]:
    """Train the same heads in PyTorch, or write the `.pt` files that they read."""
    from keybed.experiments.benchmarks.torch_heads import Source, TorchConfig, train_heads, write_pt

    frames = (("audio", f"audio/{AUDIO}/frames"), ("midi", f"midi/{MIDI}/frames"))
    source = Source(job.store, frames, f"midi/{MIDI}/mask", job.pt)
    start = time.perf_counter()
    if job.what == "write_pt":
        write_pt(source)
        return {"seconds": time.perf_counter() - start}
    run = train_heads(source, job.heads, TorchConfig(job.epochs, job.batch_rows, job.learning_rate, job.workers))
    return {"seconds": sum(run.seconds.values()), "each": run.seconds, "r": run.r, "rows_per_s": run.rows_per_s}


def goal(name: str, measured: float, target: float, kind: Literal["at least", "at most"]) -> None:
    """Print the line of one goal."""
    print(goal_line(name, float(measured), target, kind), flush=True)


def print_run(name: str, run: dict[str, Any]) -> None:
    """Print the line of one measurement."""
    r = " ".join(f"{k} {v:.3f}" for k, v in run["r"].items())
    print(
        f"{name:34s} {run['seconds']:8.1f} s  {run['rows_per_s']:8,.0f} rows/s  {run['peak_gb']:5.2f} GB  r {r}",
        flush=True,
    )


def _child(text: str) -> None:
    fields = json.loads(text)
    fields |= {
        "store": Path(fields["store"]),
        "heads": tuple(fields["heads"]),
        "pt": fields["pt"] and Path(fields["pt"]),
    }
    job = Job(**fields)
    result = run_ours(job) if job.what == "ours" else run_torch(job)
    # in KiB on Linux; for children the system reports the largest, and the workers are alike
    own, worker = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    peak = own + (worker * job.workers if job.what == "torch" else 0)
    print(json.dumps({**result, "peak_gb": peak * 1024 / 1e9}))


if __name__ == "__main__":
    _child(sys.argv[1])
