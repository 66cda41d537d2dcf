"""Estimate the cost of a store from its recipe: bytes, files, memory and hours."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from keybed.extract.audio.waveform import SAMPLE_RATE_HZ
from keybed.extract.encoders import n_parameters, runs_in_renderer
from keybed.extract.planning.speeds import Rates, TaskSpeed, speed
from keybed.store.counted import counted
from keybed.store.format import shards
from keybed.store.format.array_specs import ArraySpec, array_specs
from keybed.store.format.recipe import EncoderSpec, Recipe

MOST_TASKS = 1000
"""Most tasks that are proposed; Slurm's usual MaxArraySize is 1001."""
NOTES_BYTES_PER_S = 260
"""Bytes of `notes/` per second of music, from 9.1 MB for 10.2 hours of competition performances."""
PROCESS_BYTES = 130_000_000
"""Memory of Python with the libraries that every extraction loads.

Measured: 64 rows with the baselines and two renderers took 0.31 GB (shared pages counted once), 0.06 GB of it waveforms;
the estimate for that run, with RENDERER_BYTES, is 0.39 GB.
"""
TORCH_BYTES = 650_000_000
"""torch and transformers (270 MB), and the float64 convolutions of the self-check of an audio network (380 MB with MERT-95M)."""
COMPUTING_BYTES = 250_000_000
"""Working memory of one batch of a pretrained encoder; one encoder runs at a time."""
RENDERER_BYTES = 100_000_000
"""Memory of one process that renders."""
_GB = 1e9


@dataclass(frozen=True)
class Estimate:
    """The estimated cost: bytes before compression, hours at `rates`."""

    array_bytes: Mapping[str, int]
    notes_bytes: int
    n_shards: int
    n_files: int
    ram_bytes: int
    with_gpu: TaskSpeed
    without_gpu: TaskSpeed
    cpu_hours: float
    """Core hours of rendering and of the encoders that run on the CPU even with a GPU."""
    gpu_hours: float
    """Hours that GPUs are held, waiting included."""
    cpu_only_hours: float
    """Core hours without a GPU."""
    minutes_per_shard_gpu: float
    minutes_per_shard_cpu: float
    tasks: int
    """Number of tasks, each with a GPU (if an encoder uses one), that end within the requested hours."""
    tasks_cpu: int
    """The same without GPUs."""
    cores_per_task: int
    rates: Rates = field(repr=False)

    @property
    def total_bytes(self) -> int:
        """Bytes of the whole store folder."""
        return sum(self.array_bytes.values()) + self.notes_bytes

    def lines(self) -> list[str]:
        """The estimate as lines of text."""
        wide = max(len(path) for path in self.array_bytes)
        features = {path: n_bytes for path, n_bytes in self.array_bytes.items() if not path.startswith("row/")}
        rows = sum(n_bytes for path, n_bytes in self.array_bytes.items() if path.startswith("row/"))
        table = [f"  {path:<{wide}}  {human_size(n_bytes):>12}" for path, n_bytes in features.items()]
        return [
            "bytes (before compression):",
            *table,
            f"  {'row/…':<{wide}}  {human_size(rows):>12}",
            f"  {'notes/':<{wide}}  {human_size(self.notes_bytes):>12}",
            f"  {'total':<{wide}}  {human_size(self.total_bytes):>12}",
            f"shards: {self.n_shards}, files (inodes): {self.n_files:,}",
            f"memory of one task: {self.ram_bytes / _GB:.1f} GB with {counted(self.cores_per_task, 'core')} "
            "(less with --scratch on a disk)",
            f"time per shard (the most work that a killed task loses): {self.minutes_per_shard_gpu:.1f} min with a GPU, "
            f"{self.minutes_per_shard_cpu:.1f} min on {counted(self.cores_per_task, 'core')} without",
            *self.time_lines(),
            f"tasks that end in time: {self.tasks} with a GPU each, {self.tasks_cpu} with {counted(self.cores_per_task, 'core')} each "
            f"(at most {MOST_TASKS})",
            self.rates.line(),
        ]

    def time_lines(self) -> list[str]:
        """Rows per second with and without a GPU and what binds them, and hours in all."""
        without = f"{self.cpu_only_hours:,.1f} CPU-core-hours"
        if not self.with_gpu.gpu_s:
            return [self.without_gpu.line(), f"in all: {without}; no encoder uses a GPU"]
        return [
            self.with_gpu.line(),
            self.without_gpu.line(),
            f"in all: {self.gpu_hours:.1f} GPU-hours (waiting counted) and {self.cpu_hours:.1f} CPU-core-hours; without GPUs "
            f"{without}",
        ]


def human_size(n_bytes: float) -> str:
    """Text such as `83.86 GB`, or `0.48 MB` below 0.1 GB."""
    return f"{n_bytes / _GB:.2f} GB" if n_bytes >= 0.1 * _GB else f"{n_bytes / 1e6:.2f} MB"


def array_bytes(spec: ArraySpec) -> int:
    """Bytes of a whole array before compression."""
    return math.prod(spec.shape) * np.dtype(spec.dtype).itemsize


def estimate(
    recipe: Recipe, *, seconds_of_notes: float, n_notes_files: int, cores_per_task: int, task_hours: float, rates: Rates
) -> Estimate:
    """Estimate the cost of a store of this recipe.

    seconds_of_notes: music in the recordings used. task_hours: longest time of one task.
    """
    specs = array_specs(recipe)
    n_shards = shards.count(recipe.n_rows, recipe.shard_rows)
    with_gpu, without_gpu = (speed(recipe, rates, cores_per_task, gpu=gpu) for gpu in (True, False))
    shard_rows = min(recipe.shard_rows, recipe.n_rows)

    def tasks(row_s: float) -> int:
        return max(1, min(math.ceil(recipe.n_rows * row_s / 3600 / task_hours), n_shards, MOST_TASKS))

    return Estimate(
        array_bytes={spec.path: array_bytes(spec) for spec in specs},
        notes_bytes=round(seconds_of_notes * NOTES_BYTES_PER_S),
        n_shards=n_shards,
        n_files=_files(specs, n_shards) + n_notes_files,
        ram_bytes=_ram(recipe, specs, shard_rows, cores_per_task),
        with_gpu=with_gpu,
        without_gpu=without_gpu,
        cpu_hours=recipe.n_rows * with_gpu.core_s / 3600,
        gpu_hours=recipe.n_rows * with_gpu.row_s / 3600 if with_gpu.gpu_s else 0.0,
        cpu_only_hours=recipe.n_rows * without_gpu.core_s / 3600,
        minutes_per_shard_gpu=shard_rows * with_gpu.row_s / 60,
        minutes_per_shard_cpu=shard_rows * without_gpu.row_s / 60,
        tasks=tasks(with_gpu.row_s),
        tasks_cpu=tasks(without_gpu.row_s),
        cores_per_task=cores_per_task,
        rates=rates,
    )


def _files(specs: tuple[ArraySpec, ...], n_shards: int) -> int:
    """Number of files of a finished store without its notes: metadata, one file per shard and array, commits, logs."""
    groups = {"/".join(spec.path.split("/")[:depth]) for spec in specs for depth in range(spec.path.count("/") + 1)}
    objects = sum(1 if spec.writer == "plan" else n_shards for spec in specs)
    return len(groups) + len(specs) + objects + 2 * n_shards + len(("recipe", "recordings", "places", "plan"))


def _ram(recipe: Recipe, specs: tuple[ArraySpec, ...], shard_rows: int, cores: int) -> int:
    """Bytes of two shards' waveforms and features (one shard is rendered, one encoded), encoders and renderers.

    Waveforms are kept for encoders that do not run in the processes that render.
    """
    kept = any(spec.modality == "audio" and not runs_in_renderer(spec) for spec in recipe.encoders)
    waveforms = 2 * shard_rows * round(float(recipe.segments["window_s"]) * SAMPLE_RATE_HZ) * 4 if kept else 0
    task_written = sum(array_bytes(spec) for spec in specs if spec.writer == "task")
    features = 2 * 3 * task_written * shard_rows // recipe.n_rows  # two in float32 and float16, or more from a GPU
    return waveforms + features + PROCESS_BYTES + encoders_ram(recipe.encoders) + cores * RENDERER_BYTES


def encoders_ram(encoders: Sequence[EncoderSpec]) -> int:
    """Bytes of the encoders on a CPU: their parameters, a float32 copy while loading or COMPUTING_BYTES, and one layer in
    float64, in which the self-check converts one layer after the other.

    CUDA's host memory is not counted. Peaks, self-check included, and the estimate with PROCESS_BYTES, in GB: MERT-95M in
    float32 1.35 and 1.47, in bfloat16 1.35 and 1.41; MERT-330M in float32 2.32 and 2.39; MIDIBert in float32 0.84 and 1.48.
    """
    pretrained = [encoder for encoder in encoders if encoder.source != "none" and not runs_in_renderer(encoder)]
    if not pretrained:
        return 0
    kept = sum(n_parameters(encoder) * (2 if encoder.compute_dtype == "bfloat16" else 4) for encoder in pretrained)
    loading = max(n_parameters(encoder) * 4 if encoder.compute_dtype == "bfloat16" else 0 for encoder in pretrained)
    layer = max(8 * n_parameters(encoder) // max(encoder.n_states - 1, 1) for encoder in pretrained)
    return TORCH_BYTES + kept + max(loading, COMPUTING_BYTES) + layer
