"""Rows per second of the networks beside MERT's, by turns in one process, on a GPU where there is one.

`python -m keybed.experiments.benchmarks.bench_encoders` runs it. MERT, MuQ and Aria have random weights of the full size,
Transkun its trained ones where `keybed fetch transkun` has brought them. Nothing is compared with float64 here.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from keybed.extract.encoders import describe
from keybed.extract.encoders.base import Clip, Encoder
from keybed.extract.encoders.errors import WeightsUnreachable

CPU_ROWS, GPU_ROWS = 2, 128
"""Rows of a turn; a GPU gets whole batches of every network."""


def measure(names: Sequence[str], clips: Sequence[Clip], n_bins: int, turns: int, threads: int, dtype: str) -> None:
    """Print one line per network; the first is the one that the others are compared with."""
    import torch

    on_gpu = torch.cuda.is_available()
    n_rows = GPU_ROWS if on_gpu else CPU_ROWS
    clips = (list(clips) * -(-n_rows // len(clips)))[:n_rows]
    encoders = {name: _network(name, n_bins, clips[0].window_s, threads, dtype) for name in names}
    seconds: dict[str, list[float]] = {name: [] for name in names}
    cpu_seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(turns + 1):
        for name, encoder in encoders.items():
            began, began_cpu = time.perf_counter(), time.process_time()
            encoder.encode(clips)
            if turn > 0:  # the first turn warms up
                seconds[name].append((time.perf_counter() - began) / n_rows)
                cpu_seconds[name].append((time.process_time() - began_cpu) / n_rows)
    print(f"networks on {torch.cuda.get_device_name() if on_gpu else 'the CPU'}, {n_rows} rows per turn:")
    first = names[0]
    for name, encoder in encoders.items():
        times = statistics.median(b / a for a, b in zip(seconds[name], seconds[first], strict=True))
        print(
            f"{name:9s} {encoder.spec.compute_dtype:8s} {1 / statistics.median(seconds[name]):8.2f} rows/s, "
            f"{statistics.median(cpu_seconds[name]):6.3f} CPU-s per row, {times:5.2f} times {first}'s rate "
            f"(medians of {turns}; {'random' if encoder.spec.random_weights else 'trained'} weights)",
            flush=True,
        )


def _network(name: str, n_bins: int, window_s: float, threads: int, dtype: str) -> Encoder:
    from keybed.extract.encoders.aria.model import Aria
    from keybed.extract.encoders.mert.model import Mert
    from keybed.extract.encoders.muq.model import Muq
    from keybed.extract.encoders.transkun.model import Transkun

    networks = {"mert": Mert, "muq": Muq, "aria": Aria, "transkun": Transkun}
    options = {"n_bins": n_bins, "window_s": window_s, "threads": threads, "compute_dtype": dtype}
    try:
        weights = None if name == "transkun" else "random"
        spec, path = describe(name, weights=weights, **options)  # type: ignore[arg-type]
    except WeightsUnreachable:
        spec, path = describe(name, weights="random", **options)  # type: ignore[arg-type]
    return networks[name](spec, None if path is None else Path(path))
