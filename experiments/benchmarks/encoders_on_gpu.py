"""MERT on a GPU: its share of the card's bf16 matrix rate, as written and compiled, and the time by kind of kernel.

`python -m keybed.experiments.benchmarks.bench_encoders --gpu` runs it. One run measures the card's matrix and copying rates,
rows per second of both sizes at three batch sizes, the error of bfloat16 against float32, compiled and as written, and whether
a second run gives the same bytes. `where_time_goes` then profiles one run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from keybed.experiments.goal import goal_line
from keybed.extract.audio.waveform import SAMPLE_RATE_HZ
from keybed.extract.encoders import describe
from keybed.extract.encoders.base import Clip, Encoder, Pooled
from keybed.extract.encoders.mert.spec import ARCHITECTURES

PRODUCT_ROWS = 64
BATCH_SIZES = (PRODUCT_ROWS, 32, 128)
"""The first one is what extraction uses; the goal is for it alone."""
_MATRIX_SIDE, _COPY_BYTES = 8192, 2**32
_KINDS = {
    "attention": ("flash", "fmha", "sdpa", "attention"),
    "convolutions": ("convol", "fprop", "conv_", "conv2d"),
    "matrix products": ("gemm", "nvjet", "cutlass", "cublas", "xmma", "splitk", "_long", "_short"),
    "copies from and to the host": ("memcpy htod", "memcpy dtoh"),
}
_REST = "memory traffic (activations, norms, sums, layouts)"


def kind_of_kernel(name: str) -> str:
    """The kind of work of a kernel of this name."""
    lower = name.lower()
    return next((kind for kind, words in _KINDS.items() if any(word in lower for word in words)), _REST)


def flops_per_row(architecture: Mapping[str, Any], window_s: float) -> float:
    """Multiplications and additions of one clip: about 230 GFLOP for 95M and 10 s."""
    length, channels, flops = round(window_s * SAMPLE_RATE_HZ), 1, 0.0
    stages = (architecture[key] for key in ("conv_dim", "conv_kernel", "conv_stride"))
    for width, kernel, stride in zip(*stages, strict=True):
        length = (length - kernel) // stride + 1
        flops += 2 * length * kernel * channels * width
        channels = width
    d, inner = architecture["hidden_size"], architecture["intermediate_size"]
    position = architecture["num_conv_pos_embeddings"] * d * d / architecture["num_conv_pos_embedding_groups"]
    layer = 4 * d * d + 2 * d * inner + 2 * length * d
    return flops + 2 * length * (channels * d + position + architecture["num_hidden_layers"] * layer)


def measure(clips: Sequence[Clip], n_bins: int, batch_sizes: Sequence[int] = BATCH_SIZES) -> None:
    """Measure and print; all clips have one length."""
    import torch

    if not torch.cuda.is_available():
        print("no GPU on this machine: nothing measured")
        return
    rate, copied = _matrix_rate(), _copying_rate()
    print(
        f"{torch.cuda.get_device_name()}: bf16 matrix rate {rate / 1e12:.0f} TFLOP/s, copying {copied / 1e12:.2f} TB/s"
    )
    for size, least in (("95M", 0.50), ("330M", 0.55)):
        _measure_size(size, least, rate, clips, n_bins, batch_sizes)


def _matrix_rate() -> float:
    """FLOP/s of a large square bfloat16 product."""
    import torch

    a, b = (torch.randn(_MATRIX_SIDE, _MATRIX_SIDE, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    return 20 * 2 * _MATRIX_SIDE**3 / _best(lambda: [a @ b for _ in range(20)], 5)


def _copying_rate() -> float:
    """Bytes read and written per second."""
    import torch

    source, target = (torch.zeros(_COPY_BYTES, device="cuda", dtype=torch.uint8) for _ in range(2))
    return 2 * _COPY_BYTES / _best(lambda: target.copy_(source), 5)


def _measure_size(
    size: str, least: float, rate: float, clips: Sequence[Clip], n_bins: int, batch_sizes: Sequence[int]
) -> None:
    import torch

    flops, window_s, share = flops_per_row(ARCHITECTURES[size], clips[0].window_s), clips[0].window_s, {}
    pooled_by_execution: dict[str, Pooled] = {}
    for batch_rows in batch_sizes:
        for how in ("as written", "compiled"):
            # One code object serves every layer and size: each (size, batch) starts with none compiled.
            torch._dynamo.reset()
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            began = time.perf_counter()
            encoder = _encoder(size, n_bins, window_s, batch_rows, compile=how == "compiled")
            first = encoder.encode(clips[: 2 * batch_rows])
            ready_s = time.perf_counter() - began
            row_s = _best(partial(encoder.encode, clips), 3) / len(clips)
            print(
                f"MERT-{size}, {batch_rows} rows per batch, {encoder.execution}: {1 / row_s:.0f} rows/s, "
                f"{flops / row_s / rate:.1%} of the matrix rate, peak {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB, "
                f"ready after {ready_s:.0f} s",
                flush=True,
            )
            if batch_rows == PRODUCT_ROWS:
                pooled_by_execution[encoder.execution], share[encoder.execution] = first, flops / row_s / rate
                again = encoder.encode(clips[: 2 * batch_rows])
                print(f"    second run gives the same bytes: {again.layers.tobytes() == first.layers.tobytes()}")
                for line in where_time_goes(encoder, clips[: 4 * batch_rows], flops):
                    print("   ", line)
    exact = _encoder(size, n_bins, window_s, PRODUCT_ROWS, compile=False, dtype="float32").encode(
        clips[: 2 * PRODUCT_ROWS]
    )
    for execution, pooled in pooled_by_execution.items():
        for line in bfloat16_error(f"MERT-{size}, {execution}", exact, pooled):
            print(line, flush=True)
    name = f"mert_{size.lower()}_share_of_matmul"
    if least:  # a machine that cannot compile has no such number, and NaN fails
        print(goal_line(name, share.get("compiled", float("nan")), least, "at least"), flush=True)


def bfloat16_error(name: str, exact: Pooled, ours: Pooled) -> Iterator[str]:
    """Relative error (Frobenius norm) of pooled features against float32: each row's, and the worst single state's.

    `layers` and `frames`, means and sds apart, as they have different sizes. The goal is each row's.
    """
    for what in ("layers", "frames"):
        a, b = (getattr(pooled, what).astype(np.float64) for pooled in (exact, ours))
        stat_axis = 1 if what == "layers" else 2
        for stat, label in enumerate(("mean", "sd")[: a.shape[stat_axis]]):
            x, y = (np.take(array, stat, axis=stat_axis) for array in (a, b))
            rows = np.linalg.norm((x - y).reshape(len(x), -1), axis=1) / np.linalg.norm(x.reshape(len(x), -1), axis=1)
            worst = ""
            if what == "layers":
                states = np.linalg.norm(x - y, axis=(0, 2)) / np.linalg.norm(x, axis=(0, 2))
                worst = f", worst state ({int(states.argmax())}) {states.max():.3%}"
            yield f"{name}: {what}, {label}: error against float32 mean {rows.mean():.3%}, max {rows.max():.3%}{worst}"
            yield goal_line(f"{name} {what} {label} error", float(rows.max()), 0.01, "at most")


def _encoder(
    size: str, n_bins: int, window_s: float, batch_rows: int, *, compile: bool, dtype: str = "bfloat16"
) -> Encoder:
    from keybed.extract.encoders.mert.model import Mert

    spec, _ = describe("mert", weights=f"random:{size}", n_bins=n_bins, window_s=window_s, compute_dtype=dtype)
    return Mert(spec, None, batch_rows=batch_rows, compile=compile)


def where_time_goes(encoder: Any, clips: Sequence[Clip], flops: float) -> Iterator[str]:
    """GPU time by kind of kernel, share of waiting, and the time of the convolutional front end alone."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiled:
        wall_s = _timed(partial(encoder.encode, clips))
    # Operators are listed too; their time is that of their kernels and must not be counted twice.
    kernels = {
        event.key: event.self_device_time_total / 1e6
        for event in profiled.key_averages()
        if event.device_type == torch.autograd.DeviceType.CUDA and not event.is_user_annotation
    }
    busy_s = sum(kernels.values())
    by_kind: dict[str, float] = {}
    for name, seconds in kernels.items():
        by_kind[kind_of_kernel(name)] = by_kind.get(kind_of_kernel(name), 0.0) + seconds
    yield f"kernels and copies take {busy_s / wall_s:.0%} of the time (the profiler's own cost counted); of that:"
    for kind, seconds in sorted(by_kind.items(), key=lambda item: -item[1]):
        yield f"{seconds / busy_s:6.1%} {kind}, {seconds / len(clips) * 1e3:.3f} ms per row"
    if products_s := by_kind.get("matrix products"):
        yield f"matrix products alone run at {flops * len(clips) / products_s / 1e12:.0f} TFLOP/s or less"
    for name, seconds in sorted(kernels.items(), key=lambda item: -item[1])[:8]:
        yield f"{seconds / busy_s:6.1%} {name[:100]}"
    waveforms = torch.randn(encoder._batch_rows, encoder._n_samples, device="cuda")
    with torch.inference_mode():
        convolve = encoder._steps.convolve or encoder._model.convolutions
        front_s = _best(lambda: convolve(waveforms), 5) / len(waveforms)
    yield f"the convolutional front end by itself: {front_s * 1e3:.3f} ms per row"


def _best(run: Callable[[], Any], times: int) -> float:
    run()
    return min(_timed(run) for _ in range(times))


def _timed(run: Callable[[], Any]) -> float:
    import torch

    torch.cuda.synchronize()
    began = time.perf_counter()
    run()
    torch.cuda.synchronize()
    return time.perf_counter() - began
