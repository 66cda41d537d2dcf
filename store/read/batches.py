"""Batches for training: whole shards are read in seeded random order and their rows permuted in a bounded buffer.

One thread fills the next buffer while the current one is used.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from keybed.store.counted import counted
from keybed.store.format.feature import Feature, parse_feature
from keybed.store.format.rows import Rows
from keybed.store.read.reader import Reader, blocks

BUFFER_ROWS = 2048
"""Rows permuted together. A shard is a random sample of its split, so that two shards are enough for a good shuffle."""


@dataclass(frozen=True, eq=False)
class Batch:
    """features: path as requested → (rows, …) in the stored dtype. rows: the columns of the same rows."""

    features: dict[str, np.ndarray]
    rows: Rows

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        features = ", ".join(f"{path} {values.shape} {values.dtype}" for path, values in self.features.items())
        return f"<Batch: {counted(len(self), 'row')}; {features}>"


@dataclass(frozen=True, eq=False)
class _Fill:
    """The content of one buffer: runs [start, stop) of store rows, end to end, and the order in which rows leave it."""

    runs: list[tuple[int, int]]
    positions: NDArray[np.int64]
    """Of these rows in the selection given to `batches`, in the order in which they leave."""
    slots: NDArray[np.int64]
    """Index in the buffer of each of these rows."""

    @property
    def n_slots(self) -> int:
        return sum(stop - start for start, stop in self.runs)


def batches(
    reader: Reader,
    features: Sequence[str],
    rows: Rows,
    batch_rows: int,
    *,
    seed: int | None,
    epoch: int = 0,
    drop_last: bool = False,
    buffer_rows: int = BUFFER_ROWS,
) -> Iterator[Batch]:
    """Every row once, in batches of batch_rows; seed None keeps the order of `rows`.

    The order depends on (rows, seed, epoch, buffer_rows) only. Memory, with R bytes per row of all features together:
    two buffers of max(buffer_rows, shard_rows) × R, allocated once, and one batch of batch_rows × R; 0.4 GB for the
    frames of a 768-wide audio and MIDI encoder. Batches are new arrays that the caller may keep. Raises NoSuchFeature at
    once; Incomplete and ShardDamaged while iterating.
    """
    if batch_rows < 1 or buffer_rows < 1:
        raise ValueError("batch_rows and buffer_rows must be positive")
    parsed = {name: parse_feature(name) for name in features}
    for feature in parsed.values():
        reader.array(feature.path)  # raises for an unknown feature before the first epoch
    if seed is None:
        plan = _in_order(rows.index, reader.shards.shard_rows, max(buffer_rows, reader.shards.shard_rows))
    else:
        plan = _shuffled(rows.index, reader.shards.shard_rows, buffer_rows, np.random.default_rng([seed, epoch]))
    return _stream(reader, parsed, rows, plan, batch_rows, drop_last)


def _fill(index: NDArray[np.int64], positions: NDArray[np.int64], shard_rows: int) -> _Fill:
    order = np.argsort(index[positions], kind="stable")
    ascending = index[positions][order]
    runs, slots, used = [], np.empty(len(positions), np.int64), 0
    for first, last in blocks(ascending, shard_rows):
        start, stop = int(ascending[first]), int(ascending[last - 1]) + 1
        slots[order[first:last]] = ascending[first:last] - start + used
        runs.append((start, stop))
        used += stop - start
    return _Fill(runs, positions, slots)


def _shuffled(index: NDArray[np.int64], shard_rows: int, buffer_rows: int, random: np.random.Generator) -> list[_Fill]:
    shard = index // shard_rows
    by_shard = np.argsort(shard, kind="stable")
    groups = np.split(by_shard, np.flatnonzero(np.diff(shard[by_shard])) + 1) if len(index) else []
    together = max(1, buffer_rows // shard_rows)
    order = random.permutation(len(groups))
    return [
        _fill(index, random.permutation(np.concatenate([groups[i] for i in order[at : at + together]])), shard_rows)
        for at in range(0, len(order), together)
    ]


def _in_order(index: NDArray[np.int64], shard_rows: int, buffer_rows: int) -> list[_Fill]:
    plan, pending = [], [np.arange(i, min(i + buffer_rows, len(index))) for i in range(0, len(index), buffer_rows)]
    pending.reverse()
    while pending:
        positions = pending.pop()
        fill = _fill(index, positions, shard_rows)
        if (
            fill.n_slots > buffer_rows and len(positions) > 1
        ):  # rows are far apart, and the gaps between them are read too
            half = len(positions) // 2
            pending += [positions[half:], positions[:half]]
        else:
            plan.append(fill)
    return plan


def _stream(
    reader: Reader,
    features: dict[str, Feature],
    rows: Rows,
    plan: list[_Fill],
    batch_rows: int,
    drop_last: bool,
) -> Iterator[Batch]:
    n_slots = max((fill.n_slots for fill in plan), default=0)
    buffers = [{name: reader.empty_block(f, n_slots) for name, f in features.items()} for _ in plan[:2]]

    def load(number: int) -> None:
        at = 0
        for start, stop in plan[number].runs:
            for name, feature in features.items():
                reader.read_block(feature, start, stop, out=buffers[number % 2][name][at : at + stop - start])
            at += stop - start

    left = len(rows)
    gathered: list[NDArray[np.int64]] = []
    with ThreadPoolExecutor(1, thread_name_prefix="prefetch") as pool:
        coming = pool.submit(load, 0) if plan else None
        batch: dict[str, np.ndarray] = {}
        have = 0
        for number, fill in enumerate(plan):
            assert coming is not None
            coming.result()
            if number + 1 < len(plan):
                coming = pool.submit(load, number + 1)
            at = 0
            while at < len(fill.slots):
                if not have:
                    batch = {name: reader.empty_block(f, min(batch_rows, left)) for name, f in features.items()}
                take = min(batch_rows - have, len(fill.slots) - at)
                for name, values in batch.items():
                    source, chosen = buffers[number % 2][name], fill.slots[at : at + take]
                    np.take(source, chosen, axis=0, out=values[have : have + take], mode="clip")
                gathered.append(fill.positions[at : at + take])
                have, at, left = have + take, at + take, left - take
                if have == batch_rows or (left == 0 and not drop_last):
                    yield _batch(reader, features, batch, rows, gathered)
                    gathered, have = [], 0


def _batch(
    reader: Reader,
    features: dict[str, Feature],
    values: dict[str, np.ndarray],
    rows: Rows,
    positions: list[NDArray[np.int64]],
) -> Batch:
    dropped = {name: reader.drop_axes(feature, values[name]) for name, feature in features.items()}
    return Batch(dropped, rows.take(np.concatenate(positions)))
