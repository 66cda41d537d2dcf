"""Rows per second of `keybed extract` as a whole, against an earlier commit, and the ceilings of its parts.

    python -m keybed.experiments.benchmarks.bench_extract                        under 4 minutes with a GPU and 16 cores
    python -m keybed.experiments.benchmarks.bench_extract MAESTRO_DIR            real notes in place of the demo corpus's
    python -m keybed.experiments.benchmarks.bench_extract --quick                fewer rows, to see that it runs
    python -m keybed.experiments.benchmarks.bench_extract --before COMMIT        another commit than 63eb649
    python -m keybed.experiments.benchmarks.bench_extract --parts none           the whole command without the ceilings of its parts

With a GPU: MERT-95M, MIDIBert (full size, seeded random weights, bf16), logmel and expressive. Without: the last two. The
earlier code comes from git; without git, or without that commit, only this code is measured. Both sides plan stores of their
own and take turns, each in processes of its own. Rates leave start-up out: they count from the first commit of a run to its
last but one. Each run is compared with the runs of the other side just before and after it, since a machine's speed drifts; the
median of these ratios counts. Goals: at least 300 and 450 rows/s and the card busy for 40 % of the time; without a GPU 4 times
the earlier rate.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from keybed.experiments.benchmarks import extract_parts
from keybed.experiments.benchmarks.extract_sides import ROOT, Side, code_of
from keybed.experiments.goal import goal_line
from keybed.extract.config import HOP_S
from keybed.extract.demo.corpus import write_demo_corpus

BEFORE = "63eb649"
"""The last commit before rendering and hand-over were made faster."""


@dataclass(frozen=True)
class Size:
    """Shards of one run (the first one is start-up), rows per shard, runs of each side."""

    shard_rows: int
    shards: int
    shards_before: int
    turns: int


SIZES = {
    # (GPU, --quick)
    (True, False): Size(512, 26, 4, 1),
    (True, True): Size(256, 10, 3, 1),
    (False, False): Size(32, 28, 5, 6),
    (False, True): Size(32, 28, 4, 1),
}


def main() -> None:
    """Parse the command line and run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, nargs="?", help="a folder in MAESTRO's layout; without it the demo corpus")
    parser.add_argument("--quick", action="store_true", help="fewer rows, to see that it runs")
    parser.add_argument("--before", default=BEFORE, metavar="COMMIT", help="the earlier code; none: this code alone")
    parser.add_argument("--work", type=Path, help="a folder on the disk that commits are written to; default: TMPDIR")
    parser.add_argument("--parts", choices=("all", "only", "none"), default="all", help="the ceilings of the parts too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.work, prefix="keybed-bench-") as folder:
        _measure(Path(folder), arguments)


def _measure(folder: Path, arguments: argparse.Namespace) -> None:
    began, gpu, cores = time.monotonic(), _has_gpu(), len(os.sched_getaffinity(0))
    size = SIZES[gpu, arguments.quick]
    n_rows = size.shard_rows * max(size.shards, size.shards_before) * size.turns
    corpus = arguments.corpus or _demo_corpus(folder / "corpus", n_rows // 4)
    names = ("mert", "midibert", "logmel", "expressive") if gpu else ("logmel", "expressive")
    options = ["--encoders", ",".join(names), "--shard-rows", str(size.shard_rows), "--limit", str(n_rows // 4)]
    options += ["--weights", "random", "--dtype", "bfloat16"] if gpu else []
    now = Side("now", ROOT, folder / "now")
    now.plan(corpus.resolve(), *options)
    print(f"{cores} cores, {'a GPU' if gpu else 'no GPU'}: {', '.join(names)}; {size}", flush=True)

    if arguments.parts != "none":
        for line in _parts(now, folder, corpus, options, size, quick=arguments.quick):
            print(line, flush=True)
    if arguments.parts == "only":
        return

    sides = [now]
    code = None if arguments.before == "none" else code_of(arguments.before, folder / "code")
    if code is None:
        print(f"the code of {arguments.before} is not here (no git, or no such commit): nothing to compare with")
    else:
        before = Side("before", code, folder / "before")
        before.plan(corpus.resolve(), *options)
        sides.insert(0, before)
    for turn in range(size.turns):
        for side in sides:
            n_shards = size.shards if side is now else size.shards_before
            run = side.extract(range(turn * n_shards, (turn + 1) * n_shards), cores)
            print(
                f"{side.name}: {run.rows_per_s:.1f} rows/s, {run.cpu_ms_per_row:.1f} ms of processor time per row, "
                f"{run.rows_per_s * run.cpu_ms_per_row / 1e3 / cores:.0%} of the cores"
                + (
                    f"; features computed {run.features_share:.0%} of the time, nvidia-smi {run.gpu_share:.0%}"
                    if gpu
                    else ""
                ),
                flush=True,
            )
    print(
        "\n".join(
            f"  {line}"
            for line in now.runs[-1].report.splitlines()
            if "rows/s" in line or "bound" in line or "ms per" in line
        )
    )
    parts = ", ".join(f"{name} {ms:.2f}" for name, ms in now.runs[-1].encode_ms_per_row.items())
    print(f"  the thread that computes features, ms per row, waiting for rows included: {parts or 'nothing'}")
    _goals(gpu, now, sides[0] if len(sides) > 1 else None)
    print(f"{time.monotonic() - began:.0f} s in all")


def _parts(now: Side, folder: Path, corpus: Path, options: list[str], size: Size, *, quick: bool) -> Iterator[str]:
    yield from extract_parts.row_stages(now.store, 8 if quick else 24)
    yield from extract_parts.hand_over(now.store)
    yield from _commits(folder, corpus, options, size)
    if _has_gpu():
        from keybed.experiments.benchmarks.bench_encoders import make_clips

        n_clips = 512 if quick else 1024
        yield from extract_parts.encoders_on_gpu(now.store, make_clips(64) * (n_clips // 64))


def _demo_corpus(folder: Path, n_segments: int) -> Path:
    """At least so many segments, of 16 pieces that two players play."""
    return write_demo_corpus(folder, n_pieces=16, n_players=2, seconds=max(30.0, 20.0 + n_segments / 32 * HOP_S * 1.2))


def _commits(folder: Path, corpus: Path, options: list[str], size: Size) -> list[str]:
    """The commit's part needs a store of its own, since it fills it with random features."""
    spoilt = Side("commits", ROOT, folder / "commits")
    spoilt.plan(corpus.resolve(), *options)
    return list(extract_parts.commits(spoilt.store, min(1 + 1024 // size.shard_rows, (size.shards - 1) // 2)))


def _goals(gpu: bool, now: Side, before: Side | None) -> None:
    rate = statistics.median(run.rows_per_s for run in now.runs)
    if before is not None:
        # Runs alternate, before first: each run of now lies between two of before.
        pairs = [*zip(before.runs, now.runs, strict=True), *zip(before.runs[1:], now.runs, strict=False)]
        ratios = [a.rows_per_s / b.rows_per_s for b, a in pairs]
        ratio, cpu = statistics.median(ratios), statistics.median(b.cpu_ms_per_row / a.cpu_ms_per_row for b, a in pairs)
        print(
            f"a row takes 1/{cpu:.2f} of the processor time of before; rows per second {ratio:.2f} times "
            f"(from {min(ratios):.2f} to {max(ratios):.2f} in {len(pairs)} neighbouring runs)"
        )
        if not gpu:
            print(goal_line("times the rows per second of before", ratio, 4.0, "at least"))
    if gpu:
        print(goal_line("rows per second, the least", rate, 300.0, "at least"))
        print(goal_line("rows per second, as designed", rate, 450.0, "at least"))
        print(goal_line("share of time in which the card is busy", now.runs[-1].gpu_share, 0.4, "at least"))


def _has_gpu() -> bool:
    try:
        import torch
    except ModuleNotFoundError:
        return False
    return torch.cuda.is_available()


if __name__ == "__main__":
    main()
