"""The parts of `keybed extract` by themselves: processor time of a row by stage, hand-over, commit, encoders on a GPU.

Each gives a ceiling: no machine makes more rows per second than its slowest part allows.
"""

from __future__ import annotations

import pickle
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from keybed import store as stores
from keybed.extract import encoders
from keybed.extract.audio import note_sum
from keybed.extract.audio.waveform import SAMPLE_RATE_HZ, RenderedRow
from keybed.extract.encoders import blas
from keybed.extract.encoders.base import Clip
from keybed.extract.encoders.baselines import expressive
from keybed.extract.run.check_recipe import render_config
from keybed.extract.run.pipeline import WRITERS
from keybed.extract.run.row_maker import AUDIO, FilledSegment, RowMaker, segment_jobs
from keybed.extract.run.shard_file import ShardFile
from keybed.store import Store
from keybed.store.counted import counted
from keybed.store.format.array_specs import task_written
from keybed.store.format.recipe import EncoderSpec
from keybed.store.format.vocabulary import Status
from keybed.store.write.claims import claim
from keybed.store.write.commit import commit_shard


def row_stages(path: Path, n_segments: int) -> Iterator[str]:
    """Processor time of one row on one core, BLAS on one thread, by stage; what rendering alone allows per core."""
    store = stores.open(path)
    blas.set_threads(1)
    config, specs = render_config(store, store.machine_paths), store.recipe.encoders
    maker = RowMaker(config)
    for module in (note_sum, expressive):
        module.use_compiled_loops()  # as in tasks of many rows
    baselines = [
        encoders.build_unchecked(spec, config.models.get(spec.name))
        for spec in specs
        if encoders.runs_in_renderer(spec)
    ]
    tokenized = [spec for spec in specs if encoders.has_tokens(spec)]
    jobs = segment_jobs(store.columns(0, min(store.n_rows, 4 * (n_segments + 2))))
    seconds: dict[str, float] = defaultdict(float)
    n_rows = n_notes = 0
    for number, job in enumerate(jobs):
        if number == 2:  # the first segments read the soundfont and fill caches
            seconds.clear()
            n_rows = n_notes = 0
        variants = _timed(seconds, "notes (cut, degrade)", partial(maker.variants, job))
        rows = _timed(seconds, "sound", partial(maker.render_all, variants, job))
        clips = [clip for clip in maker.clips(rows, job) if clip is not None]
        for encoder in baselines:
            _timed(seconds, encoder.spec.name, partial(encoder.encode, clips))
        for spec in tokenized:
            _timed(seconds, f"tokens of {spec.name}", partial(_tokens, spec, clips))
        n_rows += len(rows)
        n_notes += sum(row.variant.n_notes for row in rows)
    total = sum(seconds.values())
    yield (
        f"one row on one core: {1e3 * total / n_rows:.1f} ms ("
        + ", ".join(f"{stage} {1e3 * s / n_rows:.2f}" for stage, s in seconds.items())
        + f"), {n_rows / total:.1f} rows/s per core; {n_rows} rows of {n_notes / n_rows:.0f} notes"
    )


def _tokens(spec: EncoderSpec, clips: Sequence[Clip]) -> list[Any]:
    return [encoders.tokenize(spec, clip) for clip in clips]


def hand_over(path: Path) -> Iterator[str]:
    """Processor time per row of the process that receives rendered rows, through the shard's file and by pickling sound."""
    store = stores.open(path)
    n_samples = round(float(store.recipe.segments["window_s"]) * SAMPLE_RATE_HZ)
    maker = RowMaker(render_config(store, store.machine_paths), store.recipe.encoders)
    job = segment_jobs(store.columns(0, 4))[0]
    rows: list[RenderedRow] = maker.make(job)
    pickled = pickle.dumps(rows)
    n_copies, buffer = 32, np.ones((len(rows), n_samples), np.float32)
    arrays = {AUDIO: ((n_samples,), "float32")}
    with closing(ShardFile(n_copies * len(rows), arrays)) as file:
        audio = np.stack([row.audio for row in rows])
        for copy in range(n_copies):
            file.target(copy * len(rows)).write({AUDIO: audio})
        for row in rows:
            row.audio = np.empty(0, np.float32)
        message = pickle.dumps(FilledSegment(rows, {"render": 0.1}))
        for name in file:
            file[name].max()  # a shard's file serves later shards, so that its pages are mapped
        began = time.process_time()
        for copy in range(n_copies):
            pickle.loads(message)  # noqa: S301
            buffer[:] = file[AUDIO][copy * len(rows) : (copy + 1) * len(rows)]
        ours_s = (time.process_time() - began) / n_copies / len(rows)
    kept = np.ones((n_copies, *buffer.shape), np.float32)
    began = time.process_time()
    for copy in range(n_copies):
        kept[copy] = [row.audio for row in pickle.loads(pickled)]  # noqa: S301
        buffer[:] = kept[copy]
    theirs_s = (time.process_time() - began) / n_copies / len(rows)
    yield (
        f"hand-over, the receiver's processor time: {1e3 * ours_s:.3f} ms per row ({1 / ours_s:,.0f} rows/s); "
        f"by pickling {1e3 * theirs_s:.3f} ms"
    )


def commits(path: Path, n_shards: int) -> Iterator[str]:
    """Rows per second of one writer and of as many as a task has: checks, compression, writing, reading back.

    path: a planned store of 1 + 2 n_shards, which is spoilt.
    """
    store = stores.open(path)
    features = _random_arrays(store)

    def commit(shard: int) -> int:
        start, stop = store.shard_range(shard)
        with claim(store, shard) as held:
            arrays = {name: values[: stop - start] for name, values in features.items()}
            commit_shard(store, shard, arrays, claim=held, failures={}, facts={})
        return stop - start

    shards = iter(range(store.n_shards))
    commit(next(shards))  # imports
    for writers in (1, WRITERS):
        began, began_cpu = time.perf_counter(), time.process_time()
        with ThreadPoolExecutor(writers) as pool:
            rows = sum(pool.map(commit, islice(shards, n_shards)))
        wall_s, cpu_s = time.perf_counter() - began, time.process_time() - began_cpu
        yield (
            f"commit, {counted(writers, 'writer')}: {rows / wall_s:,.0f} rows/s; {1e3 * cpu_s / rows:.2f} ms of processor "
            "time per row"
        )


def _random_arrays(store: Store) -> dict[str, np.ndarray]:
    rng, n_rows = np.random.default_rng(0), min(store.recipe.shard_rows, store.n_rows)
    arrays: dict[str, np.ndarray] = {}
    for spec in task_written(store.specs):
        shape = (n_rows, *spec.shape[1:])
        if spec.dtype == "float16":
            arrays[spec.path] = rng.standard_normal(shape, dtype=np.float32).astype(np.float16)
        elif spec.path == "row/status":
            arrays[spec.path] = np.full(shape, Status.OK, np.uint8)
        else:
            arrays[spec.path] = np.ones(shape, spec.dtype)
    return arrays


def encoders_on_gpu(path: Path, clips: Sequence[Clip]) -> Iterator[str]:
    """Rows per second of the recipe's networks: each alone, one after the other, and side by side in threads and streams."""
    import torch

    specs = [spec for spec in stores.open(path).recipe.encoders if not encoders.runs_in_renderer(spec)]
    clips = [
        Clip(
            c.audio,
            c.performance,
            c.window_s,
            {s.name: encoders.tokenize(s, c) for s in specs if encoders.has_tokens(s)},
        )
        for c in clips
    ]
    built = [encoders.build(spec, None) for spec in specs]

    def on_a_stream(encoder: Any) -> None:
        with torch.cuda.stream(torch.cuda.Stream()):
            encoder.encode(clips)

    def side_by_side() -> None:
        with ThreadPoolExecutor(len(built)) as pool:
            list(pool.map(on_a_stream, built))

    rates = {}
    for encoder in built:
        rates[f"{encoder.spec.name} ({encoder.execution})"] = _rate(partial(encoder.encode, clips), len(clips))
    rates["one after the other"] = _rate(lambda: [encoder.encode(clips) for encoder in built], len(clips))
    rates["side by side"] = _rate(side_by_side, len(clips))
    yield f"encoders on {torch.cuda.get_device_name()}, rows/s: " + ", ".join(f"{n} {r:,.0f}" for n, r in rates.items())
    alone = [encoder.encode(clips) for encoder in built]
    with ThreadPoolExecutor(len(built)) as pool:
        beside = list(pool.map(lambda encoder: encoder.encode(clips), built))
    equal = all(a.layers.tobytes() == b.layers.tobytes() for a, b in zip(alone, beside, strict=True))
    yield f"side by side gives the same bytes: {equal}"


def _rate(run: Callable[[], Any], n_rows: int) -> float:
    import torch

    run()
    best = float("inf")
    for _ in range(2):
        torch.cuda.synchronize()
        began = time.perf_counter()
        run()
        torch.cuda.synchronize()
        best = min(best, time.perf_counter() - began)
    return n_rows / best


def _timed(seconds: dict[str, float], stage: str, work: Callable[[], Any]) -> Any:
    began = time.process_time()
    result = work()
    seconds[stage] += time.process_time() - began
    return result
