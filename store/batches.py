"""Reading for training: whole shards in seeded random order, permuted in a bounded buffer, the next one prefetched."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from store.features import Feature, parse_feature
from store.reader import Store
from store.rows import Rows

BUFFER_ROWS = 2048
"""Rows permuted together. A shard is a random sample of its split already, so two of them shuffle well."""


@dataclass(frozen=True, eq=False)
class Batch:
    """features: path as asked for → (rows, …) in the stored dtype. rows: what is known about the same rows."""

    features: dict[str, np.ndarray]
    rows: Rows

    def __len__(self) -> int:
        return len(self.rows)


def batches(
    store: Store,
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

    The order depends on (rows, seed, epoch, buffer_rows) alone, not on the features asked for or on timing. With R
    bytes a row of all features together, at most (2 × max(buffer_rows, shard_rows) + shard_rows + 2 × batch_rows) × R
    bytes are held: one buffer in use, one being filled, one block being decoded.
    """
    if batch_rows < 1 or buffer_rows < 1:
        raise ValueError("batch_rows and buffer_rows must be positive")
    parsed = {name: parse_feature(name) for name in features}
    for feature in parsed.values():
        store.array(feature.path)  # an unknown feature is an error now, not in the first epoch
    plan = _plan(rows.index, store.shard_rows, buffer_rows, seed, epoch)
    return _stream(store, parsed, rows, plan, batch_rows, drop_last)


def _plan(
    index: NDArray[np.int64], shard_rows: int, buffer_rows: int, seed: int | None, epoch: int
) -> list[NDArray[np.int64]]:
    """Positions in `index`, a buffer-full each, in the order in which they leave."""
    if seed is None:
        return [np.arange(i, min(i + buffer_rows, len(index))) for i in range(0, len(index), buffer_rows)]
    random = np.random.default_rng([seed, epoch])
    shard = index // shard_rows
    by_shard = np.argsort(shard, kind="stable")
    groups = np.split(by_shard, np.flatnonzero(np.diff(shard[by_shard])) + 1) if len(index) else []
    plan, waiting, n_waiting = [], [], 0
    for number in random.permutation(len(groups)):
        waiting.append(groups[number])
        n_waiting += len(groups[number])
        if n_waiting >= buffer_rows:
            plan.append(random.permutation(np.concatenate(waiting)))
            waiting, n_waiting = [], 0
    if waiting:
        plan.append(random.permutation(np.concatenate(waiting)))
    return plan


def _stream(
    store: Store,
    features: dict[str, Feature],
    rows: Rows,
    plan: list[NDArray[np.int64]],
    batch_rows: int,
    drop_last: bool,
) -> Iterator[Batch]:
    stop = threading.Event()

    def fill(positions: NDArray[np.int64]) -> dict[str, np.ndarray]:
        if stop.is_set():
            return {}
        return {name: store.read(name, rows.index[positions]) for name in features}

    with ThreadPoolExecutor(1, thread_name_prefix="prefetch") as pool:
        try:
            coming = pool.submit(fill, plan[0]) if plan else None
            rest: list[tuple[NDArray[np.int64], dict[str, np.ndarray]]] = []
            for number, positions in enumerate(plan):
                assert coming is not None
                rest.append((positions, coming.result()))
                coming = pool.submit(fill, plan[number + 1]) if number + 1 < len(plan) else None
                while sum(len(held) for held, _ in rest) >= batch_rows:
                    yield _take(rest, rows, batch_rows)
                rest = [(held.copy(), {name: part.copy() for name, part in parts.items()}) for held, parts in rest]
            if rest and not drop_last:
                yield _take(rest, rows, batch_rows)
        finally:
            stop.set()


def _take(rest: list[tuple[NDArray[np.int64], dict[str, np.ndarray]]], rows: Rows, n_rows: int) -> Batch:
    """Cut up to n_rows off the front of what is buffered; the remainder stays as views."""
    taken, still = [], n_rows
    while rest and still:
        positions, parts = rest.pop(0)
        taken.append((positions[:still], {name: part[:still] for name, part in parts.items()}))
        if len(positions) > still:
            rest.insert(0, (positions[still:], {name: part[still:] for name, part in parts.items()}))
        still -= min(still, len(positions))
    features = {name: np.concatenate([parts[name] for _, parts in taken]) for name in taken[0][1]}
    return Batch(features, rows.take(np.concatenate([positions for positions, _ in taken])))
