"""How fast a task makes rows, from measured speeds of its parts, and which part binds.

Sources: docs/measurements.md, "Rows of an extraction", and `bench_encoders`. `--rate` replaces them by what you measured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from keybed.extract.encoders import NAMES, n_parameters
from keybed.extract.encoders.errors import UnknownEncoder
from keybed.store.counted import counted
from keybed.store.format.recipe import EncoderSpec, Recipe

_LARGE_PARAMETERS = 200_000_000
_CHEAP_ENCODER_ROWS_PER_CORE_S = 500.0


@dataclass(frozen=True)
class Rates:
    """Speeds in rows per second; every estimate prints them."""

    machine: str
    render_rows_per_core_s: Mapping[str, float]
    """One finished row (cut, degraded, rendered, normalised) per second and core, by renderer: bank, fluidsynth, recorded."""
    cpu_encoder_rows_per_core_s: Mapping[str, float]
    gpu_encoder_rows_per_s: Mapping[str, float]
    """In bfloat16. Encoders that are not named here run on the CPU, at their CPU rate."""
    gpu_float32_share: float
    """Speed of float32 on a GPU as a share of bfloat16's."""
    gpu_large_share: Mapping[str, float]
    """Speed of an encoder's large checkpoint as a share of its usual one's."""
    task_rows_per_core_s: float
    """What the task itself does with a row on the CPU: receive it, feed the GPU, check, compress, write and read back."""
    written_rows_per_s: float
    """Checked, compressed, written and read back."""
    given: frozenset[str] = field(default=frozenset())
    """Rates that somebody gave; they hold for the store's arithmetic and sizes as they are."""

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
        render = self.render_rows_per_core_s
        return replace(
            self,
            machine=f"given: {', '.join(f'{name} {rate:g}' for name, rate in rates.items())}; the rest: {self.machine}",
            render_rows_per_core_s=dict.fromkeys(render, rates["render"]) if "render" in rates else render,
            cpu_encoder_rows_per_core_s={**self.cpu_encoder_rows_per_core_s, **on_cpu},
            gpu_encoder_rows_per_s={**self.gpu_encoder_rows_per_s, **on_gpu},
            given=frozenset(rates),
        )

    def render(self, audio: Mapping[str, object]) -> float:
        """Rows per second and core of a recipe's renderer."""
        renderer = "recorded" if audio.get("source") == "recorded" else str(audio.get("renderer", "fluidsynth"))
        return self.render_rows_per_core_s[renderer]

    def on_cpu(self, spec: EncoderSpec) -> float:
        """Rows per second and core of an encoder on a CPU."""
        return self.cpu_encoder_rows_per_core_s.get(spec.name, _CHEAP_ENCODER_ROWS_PER_CORE_S)

    def on_gpu(self, spec: EncoderSpec) -> float | None:
        """Rows per second of an encoder on a GPU; None for one that runs on the CPU."""
        rate = self.gpu_encoder_rows_per_s.get(spec.name)
        if rate is None or f"gpu:{spec.name}" in self.given:
            return rate
        large = self.gpu_large_share.get(spec.name, 1.0) if n_parameters(spec) > _LARGE_PARAMETERS else 1.0
        return rate * large * (self.gpu_float32_share if spec.compute_dtype == "float32" else 1.0)

    def line(self) -> str:
        """The rates in words."""
        rendering = ", ".join(f"{name} {rate:g}" for name, rate in self.render_rows_per_core_s.items())
        on_cpu = ", ".join(f"{name} {rate:g}" for name, rate in self.cpu_encoder_rows_per_core_s.items())
        on_gpu = ", ".join(f"{name} {rate:g}" for name, rate in self.gpu_encoder_rows_per_s.items())
        return (
            f"at these rates: rendering, rows/s per core: {rendering}; encoders, rows/s per core: {on_cpu}; with a GPU, "
            f"bfloat16, rows/s: {on_gpu} ({self.machine})"
        )


MEASURED_RATES = Rates(
    machine="CPU: bank, logmel and expressive in 16 processes on 16 cores of an Intel Xeon, expected 3 ms more than expressive, the "
    "rest on 2 cores of an AMD EPYC, "
    "networks in float32; GPU: one H100, mert, midibert and transkun measured, muq and aria calculated at the 394 TFLOP/s that "
    "MERT-95M reaches, transcribed a guess; float32 at a tenth of bfloat16",
    # With all 16 cores at work 23.7 ms, before notes were summed by compiled loops (2.2 ms less on an EPYC).
    render_rows_per_core_s={"bank": 42.0, "fluidsynth": 12.5, "recorded": 60.0},
    cpu_encoder_rows_per_core_s={
        "mert": 0.24,
        "midibert": 0.85,
        "muq": 0.165,
        "aria": 0.14,
        "transkun": 0.2,
        "transcribed": 0.17,
        "logmel": 215.0,
        "expressive": 155.0,
        "expected": 105.0,
    },
    # A row of MERT-95M is 230 GFLOP, of MuQ 421, of Aria 400. Transkun runs in float32 alone: 74 rows/s.
    gpu_encoder_rows_per_s={
        "mert": 1720.0,
        "midibert": 3860.0,
        "muq": 936.0,
        "aria": 985.0,
        "transkun": 740.0,
        "transcribed": 150.0,
    },
    gpu_float32_share=0.1,
    gpu_large_share={"mert": 732 / 1720},
    task_rows_per_core_s=500.0,
    written_rows_per_s=613.0,
)


@dataclass(frozen=True)
class TaskSpeed:
    """What one task reaches on so many cores, with or without a GPU.

    core_s: processor seconds of a row. gpu_s: seconds of a row on the GPU, 0 without one. by_stage: processor seconds of a
    row by stage, the longest first. writing_s: seconds per row of writing.
    """

    cores: int
    core_s: float
    gpu_s: float
    by_stage: Mapping[str, float]
    writing_s: float

    @property
    def row_s(self) -> float:
        """Seconds per row."""
        return max(self.core_s / self.cores, self.gpu_s, self.writing_s)

    @property
    def gpu_share(self) -> float:
        """Share of the time in which the GPU computes."""
        return self.gpu_s / self.row_s

    def line(self) -> str:
        """Rows per second and what binds them, in words."""
        cores = counted(self.cores, "core")
        stages = ", ".join(f"{name} {_ms(seconds)}" for name, seconds in self.by_stage.items())
        on = f"with a GPU and {cores}" if self.gpu_s else f"without a GPU, {cores}"
        head = f"one task {on}: {1 / self.row_s:,.3g} rows/s"
        on_cores = f"{_ms(self.core_s)} ms of a core per row: {stages}"
        if self.gpu_s and self.row_s == self.gpu_s:
            return f"{head}, bound by the encoders on the GPU; the cores have time left ({on_cores})"
        if self.row_s == self.writing_s:
            return f"{head}, bound by writing ({on_cores})"
        first = next(iter(self.by_stage))
        bound = f"{head}, bound by the {cores} ({first} most; {on_cores})"
        if not self.gpu_s:
            return bound
        enough = counted(math.ceil(self.core_s / self.gpu_s), "core")
        return f"{bound}; the GPU will wait and compute {self.gpu_share:.0%} of the time, {enough} would keep it busy"


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:,.0f}" if seconds >= 0.1 else f"{1e3 * seconds:.3g}"


def speed(recipe: Recipe, rates: Rates, cores: int, *, gpu: bool) -> TaskSpeed:
    """What a task of this recipe reaches."""
    on_gpu = {spec.name: rate for spec in recipe.encoders if gpu and (rate := rates.on_gpu(spec)) is not None}
    stages = {"rendering": 1 / rates.render(recipe.audio), "the task itself": 1 / rates.task_rows_per_core_s}
    stages |= {spec.name: 1 / rates.on_cpu(spec) for spec in recipe.encoders if spec.name not in on_gpu}
    return TaskSpeed(
        cores=cores,
        core_s=sum(stages.values()),
        gpu_s=sum(1 / rate for rate in on_gpu.values()),
        by_stage=dict(sorted(stages.items(), key=lambda item: -item[1])),
        writing_s=1 / rates.written_rows_per_s,
    )
