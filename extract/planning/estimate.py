"""Estimate the cost of a store from its recipe: bytes, files, memory and hours."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from keybed.extract.audio.waveform import SAMPLE_RATE_HZ
from keybed.extract.encoders import NAMES, n_parameters
from keybed.extract.encoders.errors import UnknownEncoder
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
class Rates:
    """Measured speeds in rows per second; every estimate prints them."""

    machine: str
    render_rows_per_core_s: float
    """One finished row (degraded, rendered with pre-roll, normalised) per second and core."""
    cpu_encoder_rows_per_core_s: Mapping[str, float]
    gpu_encoder_rows_per_s: Mapping[str, float]
    """Encoders that are not named here run on the CPU, at their CPU rate."""

    def with_measured(self, rates: Mapping[str, float]) -> Rates:
        """These rates with some replaced: key `render` or an encoder's name (per core), or `gpu:` and an encoder's name.

        UnknownEncoder for any other key.
        """
        for name in rates:
            if name != "render" and name.removeprefix("gpu:") not in NAMES:
                raise UnknownEncoder(
                    f"no rate {name!r}; there are render, {', '.join(NAMES)} and gpu: before an encoder"
                )
        if not rates:
            return self
        on_gpu = {name.removeprefix("gpu:"): rate for name, rate in rates.items() if name.startswith("gpu:")}
        on_cpu = {n: r for n, r in rates.items() if not n.startswith("gpu:") and n != "render"}
        return Rates(
            machine=f"given: {', '.join(f'{name} {rate:g}' for name, rate in rates.items())}; the rest: {self.machine}",
            render_rows_per_core_s=rates.get("render", self.render_rows_per_core_s),
            cpu_encoder_rows_per_core_s={**self.cpu_encoder_rows_per_core_s, **on_cpu},
            gpu_encoder_rows_per_s={**self.gpu_encoder_rows_per_s, **on_gpu},
        )


MEASURED_RATES = Rates(
    machine="CPU: measured on 2 cores of an AMD EPYC, float32; GPU: calculated at 14 TFLOP/s float32, per row 230 GFLOP of MERT, 421 of MuQ, 400 of Aria, 310 of Transkun",
    render_rows_per_core_s=12.5,
    cpu_encoder_rows_per_core_s={
        "mert": 0.24,
        "midibert": 0.85,
        "muq": 0.165,
        "aria": 0.14,
        "transkun": 0.2,
        "logmel": 42.0,
        "expressive": 200.0,
    },
    gpu_encoder_rows_per_s={"mert": 60.0, "midibert": 500.0, "muq": 33.0, "aria": 35.0, "transkun": 45.0},
)
_CHEAP_ENCODER_ROWS_PER_CORE_S = 500.0


@dataclass(frozen=True)
class Estimate:
    """The estimated cost: bytes before compression, hours at `rates`."""

    array_bytes: Mapping[str, int]
    notes_bytes: int
    n_shards: int
    n_files: int
    ram_bytes: int
    cpu_hours: float
    """Core hours of rendering and of the encoders that run on the CPU even with a GPU."""
    gpu_hours: float
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
            f"with GPUs: {self.gpu_hours:.1f} GPU-hours and {self.cpu_hours:.1f} CPU-core-hours; "
            f"without: {self.cpu_only_hours:.0f} CPU-core-hours",
            f"tasks that end in time: {self.tasks} with a GPU each, {self.tasks_cpu} with {counted(self.cores_per_task, 'core')} each "
            f"(at most {MOST_TASKS})",
            f"at these rates: rendering {self.rates.render_rows_per_core_s:g} rows/s per core; "
            + ", ".join(
                f"{name} {rate:g} rows/s per core" for name, rate in self.rates.cpu_encoder_rows_per_core_s.items()
            )
            + "; with a GPU "
            + ", ".join(f"{name} {rate:g} rows/s" for name, rate in self.rates.gpu_encoder_rows_per_s.items())
            + f" ({self.rates.machine})",
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
    render_s = 1.0 / rates.render_rows_per_core_s
    cpu_s = {
        encoder.name: 1.0 / rates.cpu_encoder_rows_per_core_s.get(encoder.name, _CHEAP_ENCODER_ROWS_PER_CORE_S)
        for encoder in recipe.encoders
    }
    gpu_s = {name: 1.0 / rates.gpu_encoder_rows_per_s[name] for name in cpu_s if name in rates.gpu_encoder_rows_per_s}
    cpu_only_s = sum(seconds for name, seconds in cpu_s.items() if name not in gpu_s)
    core_s, gpu_row_s = render_s + cpu_only_s, sum(gpu_s.values())
    row_s_gpu = max(core_s / cores_per_task, gpu_row_s)
    row_s_cpu = (render_s + sum(cpu_s.values())) / cores_per_task
    shard_rows = min(recipe.shard_rows, recipe.n_rows)

    def tasks(row_s: float) -> int:
        return max(1, min(math.ceil(recipe.n_rows * row_s / 3600 / task_hours), n_shards, MOST_TASKS))

    return Estimate(
        array_bytes={spec.path: array_bytes(spec) for spec in specs},
        notes_bytes=round(seconds_of_notes * NOTES_BYTES_PER_S),
        n_shards=n_shards,
        n_files=_files(specs, n_shards) + n_notes_files,
        ram_bytes=_ram(recipe, specs, shard_rows, cores_per_task),
        cpu_hours=recipe.n_rows * core_s / 3600,
        gpu_hours=recipe.n_rows * gpu_row_s / 3600,
        cpu_only_hours=recipe.n_rows * row_s_cpu * cores_per_task / 3600,
        minutes_per_shard_gpu=shard_rows * row_s_gpu / 60,
        minutes_per_shard_cpu=shard_rows * row_s_cpu / 60,
        tasks=tasks(row_s_gpu),
        tasks_cpu=tasks(row_s_cpu),
        cores_per_task=cores_per_task,
        rates=rates,
    )


def _files(specs: tuple[ArraySpec, ...], n_shards: int) -> int:
    """Number of files of a finished store without its notes: metadata, one file per shard and array, commits, logs."""
    groups = {"/".join(spec.path.split("/")[:depth]) for spec in specs for depth in range(spec.path.count("/") + 1)}
    objects = sum(1 if spec.writer == "plan" else n_shards for spec in specs)
    return len(groups) + len(specs) + objects + 2 * n_shards + len(("recipe", "recordings", "places", "plan"))


def _ram(recipe: Recipe, specs: tuple[ArraySpec, ...], shard_rows: int, cores: int) -> int:
    """Bytes of two shards' waveforms and features (one shard is rendered, one encoded), encoders and renderers."""
    waveforms = 2 * shard_rows * round(float(recipe.segments["window_s"]) * SAMPLE_RATE_HZ) * 4
    task_written = sum(array_bytes(spec) for spec in specs if spec.writer == "task")
    features = 2 * 3 * task_written * shard_rows // recipe.n_rows  # float32 made, then float16
    return waveforms + features + PROCESS_BYTES + encoders_ram(recipe.encoders) + cores * RENDERER_BYTES


def encoders_ram(encoders: Sequence[EncoderSpec]) -> int:
    """Bytes of the encoders on a CPU: their parameters, and a float32 copy while loading or COMPUTING_BYTES.

    CUDA's host memory is not counted. Measured against estimated peaks, PROCESS_BYTES included, self-check included:
    MERT-95M in float32 1.35 and 1.41 GB, in bfloat16 1.35 and 1.35 GB.
    """
    pretrained = [encoder for encoder in encoders if encoder.source != "none"]
    if not pretrained:
        return 0
    kept = sum(n_parameters(encoder) * (2 if encoder.compute_dtype == "bfloat16" else 4) for encoder in pretrained)
    loading = max(n_parameters(encoder) * 4 if encoder.compute_dtype == "bfloat16" else 0 for encoder in pretrained)
    return TORCH_BYTES + kept + max(loading, COMPUTING_BYTES)
