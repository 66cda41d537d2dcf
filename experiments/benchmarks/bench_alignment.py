"""Cost of one training step of the alignment objective: each term beside InfoNCE alone.

    python -m keybed.experiments.benchmarks.bench_alignment --quick      32 rows of 4 bins, narrow: 1 minute, most of it compiling (ignore the goals)
    python -m keybed.experiments.benchmarks.bench_alignment              128 rows of 20 bins, widths of logmel and expressive: 2 minutes

Memory is XLA's own count for the compiled step (arguments, temporary buffers and outputs). Rates are rows per second of
CPU time; the lines take turns in one process, so that noise of a shared machine strikes all alike. The goal is at most
twice the memory of InfoNCE alone.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from keybed.experiments.goal import goal_line
from keybed.experiments.phases.phase3_ablations import LINES
from keybed.heads.align import AlignConfig, Terms
from keybed.heads.fit_config import FitConfig
from keybed.heads.inputs import HeadInput, from_arrays
from keybed.heads.normalisation import measure
from keybed.heads.optimiser import FlatAdamW
from keybed.heads.step import Recipe, Schedule, fresh, step

MOST_MEMORY = 2.0


@dataclass(frozen=True)
class Shape:
    """Sizes of one batch and of the projection."""

    rows: int = 128
    bins: int = 20
    audio: int = 214
    midi: int = 282
    hidden: int = 256
    width: int = 128


QUICK = Shape(32, 4, 20, 24, 16, 16)


def batch_of(shape: Shape) -> HeadInput:
    """Synthetic rows of whole segments."""
    rng, n = np.random.default_rng(0), shape.rows

    def normal(*size: int) -> Any:
        return rng.normal(size=(n, *size)).astype(np.float16)

    return from_arrays(
        audio_frames=normal(shape.bins, shape.audio),
        midi_frames=normal(shape.bins, shape.midi),
        audio_layers=normal(1, shape.audio),
        midi_layers=normal(1, shape.midi),
        score=rng.uniform(50, 100, size=(n, 8)),
        valid=np.ones((n, 8), bool),
        segment=np.arange(n) // 4,
        row=np.arange(n),
        recording=np.arange(n) // 4,
        start_s=np.zeros(n),
    )


@dataclass
class Line:
    """One objective's compiled step: bytes by XLA's count, and seconds of CPU time of every timed step."""

    memory: int
    run: Any
    seconds: list[float]


def compile_line(terms: Terms, shape: Shape) -> Line:
    """Compile one step and count its memory."""
    batch = batch_of(shape)
    fit = FitConfig(batch_rows=shape.rows, seeds=(0,))
    objective = AlignConfig(hidden=shape.hidden, width=shape.width, fit=fit, terms=terms).objective
    recipe = Recipe(objective, FlatAdamW(fit.weight_decay, fit.clip_norm), fit.compute_dtype)
    normalisation = measure([batch], batch_rows=shape.rows, max_rows=None)
    schedule = Schedule(np.array(fit.seeds, np.uint32), fit.rates(64), normalisation)
    state = [fresh(recipe, schedule, batch)]
    prepared = jax.tree.map(jnp.asarray, objective.prepare(batch))
    compiled = step.lower(recipe, state[0], prepared, schedule).compile()
    analysis = compiled.memory_analysis()

    def run() -> None:
        begin = time.process_time()
        state[0], losses = compiled(state[0], objective.prepare(batch), schedule)
        jax.block_until_ready(losses)
        line.seconds.append(time.process_time() - begin)

    sizes = (analysis.argument_size_in_bytes, analysis.temp_size_in_bytes, analysis.output_size_in_bytes)
    line = Line(sum(sizes) - analysis.alias_size_in_bytes, run, [])
    return line


def main() -> None:
    """Run the command of the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--steps", type=int, default=20, help="timed steps of each line")
    arguments = parser.parse_args()
    shape = QUICK if arguments.quick else Shape()
    lines = {name: compile_line(terms, shape) for name, terms in LINES.items()}
    for _ in range(arguments.steps + 1):
        for line in lines.values():
            line.run()
    base = next(iter(lines.values()))
    base_s = float(np.median(base.seconds[1:]))
    for name, line in lines.items():
        seconds = float(np.median(line.seconds[1:]))
        print(
            f"{name:20s} {line.memory / 2**20:7.1f} MiB ({line.memory / base.memory:.2f} × the base)  "
            f"{shape.rows / seconds:8,.0f} rows per CPU second ({seconds / base_s:.2f} × the base's time)",
            flush=True,
        )
    for name, line in list(lines.items())[1:]:
        print(goal_line(f"memory of {name} over the base", line.memory / base.memory, MOST_MEMORY, "at most"))


if __name__ == "__main__":
    main()
