"""The same four heads in PyTorch, from the same store and from one `.pt` file a row. Two ratios, never mixed.

At equal work both sides read the same raw frames, batch by batch. End to end ours goes through the derived view with `fit`'s own
settings, as a user's would: a view of up to 1 GB stays in memory; a line says what the same run takes streamed. What each side
pays once a run is counted on both: compiling and measuring means here, starting loaders' workers there. What is made once for
all runs is not, neither the derived view nor the files; a line says what it took.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from keybed.experiments.benchmarks.heads_jobs import Job, goal, in_process, told


def against_torch(path: Path, work: Path, epochs: int, deriving_s: float) -> None:
    """Measure and print; the store has a PCA-128 view."""
    pt = work / "pt"
    writing_s = in_process(Job("write_pt", path, pt=pt))["seconds"]
    raw = in_process(Job("ours", path, ranking=0.0, epochs=epochs))
    told("(b) JAX, raw frames", raw)
    pca = in_process(Job("ours", path, "pca128", ranking=0.0, epochs=epochs, resident=None))
    streamed = pca
    if pca["resident"]:
        told("(b) JAX, pca128, in memory", pca)
        streamed = in_process(Job("ours", path, "pca128", ranking=0.0, epochs=epochs))
    told("(b) JAX, pca128, streamed", streamed)
    once: list[str] = []
    for name, job, equal, end in (
        ("store", Job("torch", path, epochs=epochs), 1.5, 5.0),
        (".pt files", Job("torch", path, pt=pt, epochs=epochs), 4.0, 15.0),
    ):
        theirs = at_its_best(name, job)
        told(f"(b) PyTorch, {name}", theirs)
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
        made = theirs["seconds"] + (writing_s if job.pt else 0.0)
        once.append(f"{made / (pca['seconds'] + deriving_s):.1f} ({name})")
        if job.pt is None:
            for view, ours in (("raw frames", raw), ("pca128", pca)):
                apart = abs(np.mean(list(ours["r"].values())) - np.mean(list(theirs["r"].values())))
                goal(f"mean r of {view} off PyTorch", apart, 0.005, "at most")
    print(
        f"    made once: the derived view in {deriving_s:.0f} s, the .pt files in {writing_s:.0f} s; a single run that pays for "
        f"them is {' and '.join(once)} times faster end to end",
        flush=True,
    )


def at_its_best(name: str, job: Job) -> dict[str, Any]:
    """The job with as many workers as serve it best: one or two, by one epoch of one head each."""
    trials = {n: in_process(replace(job, heads=("concat",), epochs=1, workers=n))["seconds"] for n in (1, 2)}
    workers = min(trials, key=lambda n: trials[n])
    print(
        f"    PyTorch from {name}: {', '.join(f'{n} workers {s:.1f} s' for n, s in trials.items())} an epoch",
        flush=True,
    )
    return in_process(replace(job, workers=workers))
