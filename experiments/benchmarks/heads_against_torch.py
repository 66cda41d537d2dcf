"""The same four heads in PyTorch, from the same store and from one `.pt` file per row. Two ratios, reported apart.

Equal work: both sides read the same raw frames, batch by batch. End to end: Keybed reads the derived view with `fit`'s default
settings, so a view of up to 1 GB stays in memory; a line gives the time of the same run streamed. Costs per run count on both
sides: compiling and measuring means for JAX, starting the workers for PyTorch. Costs for all runs together (the derived view,
the files) do not count; a line gives them.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from keybed.experiments.benchmarks.heads_jobs import Job, goal, in_process, print_run


def against_torch(path: Path, work: Path, epochs: int, derive_s: float) -> None:
    """Measure and print. The store must have a PCA-128 view."""
    pt = work / "pt"
    writing_s = in_process(Job("write_pt", path, pt=pt))["seconds"]
    raw = in_process(Job("ours", path, ranking=0.0, epochs=epochs))
    print_run("(b) JAX, raw frames", raw)
    pca = in_process(Job("ours", path, "pca128", ranking=0.0, epochs=epochs, resident=None))
    streamed = pca
    if pca["resident"]:
        print_run("(b) JAX, pca128, in memory", pca)
        streamed = in_process(Job("ours", path, "pca128", ranking=0.0, epochs=epochs))
    print_run("(b) JAX, pca128, streamed", streamed)
    with_preparation: list[str] = []
    for name, job, equal, end in (
        ("store", Job("torch", path, epochs=epochs), 1.5, 5.0),
        (".pt files", Job("torch", path, pt=pt, epochs=epochs), 4.0, 15.0),
    ):
        theirs = with_best_workers(name, job)
        print_run(f"(b) PyTorch, {name}", theirs)
        goal(
            f"times faster at equal work than PyTorch from {name}",
            theirs["seconds"] / raw["seconds"],
            equal,
            "at least",
        )
        goal(f"times faster end to end than PyTorch from {name}", theirs["seconds"] / pca["seconds"], end, "at least")
        print(
            f"    streamed, as a view of over 1 GB is: {theirs['seconds'] / streamed['seconds']:.1f} times", flush=True
        )
        seconds = theirs["seconds"] + (writing_s if job.pt else 0.0)
        with_preparation.append(f"{seconds / (pca['seconds'] + derive_s):.1f} ({name})")
        if job.pt is None:
            for view, ours in (("raw frames", raw), ("pca128", pca)):
                apart = abs(np.mean(list(ours["r"].values())) - np.mean(list(theirs["r"].values())))
                goal(f"mean r of {view} off PyTorch", apart, 0.005, "at most")
    print(
        f"    prepared once: the derived view in {derive_s:.0f} s, the .pt files in {writing_s:.0f} s; with them in the time, a single run is "
        f" {' and '.join(with_preparation)} times faster end to end",
        flush=True,
    )


def with_best_workers(name: str, job: Job) -> dict[str, Any]:
    """The job with one or two workers, whichever trains one epoch of one head faster."""
    trials = {n: in_process(replace(job, heads=("concat",), epochs=1, workers=n))["seconds"] for n in (1, 2)}
    workers = min(trials, key=lambda n: trials[n])
    print(
        f"    PyTorch from {name}: {', '.join(f'{n} workers {s:.1f} s' for n, s in trials.items())} per epoch",
        flush=True,
    )
    return in_process(replace(job, workers=workers))
